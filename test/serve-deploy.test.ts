/** Push to deploy by `gitwharf serve --deploy`, with the git client, and its apps by the command line. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type IncomingMessage, request } from "node:http";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createWorkspace, type GitClient, type GitResult, removeDirectory } from "./support/git-client.js";
import { until } from "./support/deploy-stage.js";
import { CLI, runGitwharf } from "./support/run-gitwharf.js";
import { type ServeProcess, startServe } from "./support/serve-process.js";

let workspace: GitClient;
let root: string;
let app: GitClient;
let server: ServeProcess | undefined;

beforeEach(async () => {
  workspace = createWorkspace();
  root = join(workspace.directory, "repositories");
  await workspace.run("init", "-q", "app");
  app = workspace.in("app");
});
afterEach(async () => {
  await server?.end("SIGTERM");
  server = undefined;
  removeDirectory(workspace);
});

const SERVER =
  'require("http").createServer((q, a) => a.end(process.env.WORD || "one")).listen(process.env.PORT);\n';

async function commit(files: Readonly<Record<string, string>>): Promise<string> {
  for (const [name, text] of Object.entries(files)) writeFileSync(join(app.directory, name), text);
  await app.run("add", "-A");
  await app.run("commit", "-q", "--allow-empty", "-m", "change");
  return app.run("rev-parse", "HEAD");
}

async function get(host: string, path = "/"): Promise<readonly [number | undefined, string]> {
  const { port } = new URL(server?.url ?? "");
  const headers = { host: `${host}:${port}` };
  const asked = request({ port, host: "127.0.0.1", path, headers, agent: false }).end();
  const [answer] = (await once(asked, "response")) as [IncomingMessage];
  let body = "";
  for await (const chunk of answer as AsyncIterable<Buffer>) body += chunk.toString();
  return [answer.statusCode, body];
}

const gitwharf = (...args: readonly string[]): Promise<GitResult> =>
  runGitwharf([...args, "-d", root], { cwd: workspace.directory });

describe("gitwharf serve --deploy", { timeout: 60_000 }, () => {
  it("makes an app of what says how it is run, and looks after it", async () => {
    const audit = join(workspace.directory, "audit.jsonl");
    server = await startServe(root, "--deploy", "plain", "--audit-log", audit, "--metrics", "127.0.0.1:0");
    expect(server.printed()).toContain(
      "a push to main of a repository with gitwharf.yml or Procfile is deployed",
    );
    expect(server.printed()).toContain("builds run as plain processes");
    const { port } = new URL(server.url);

    // Nothing that says so: it is stored, as ever.
    await commit({ "README.md": "one\n" });
    const stored = await app.try("push", `${server.url}/docs.git`, "main");
    expect([stored.status, stored.stderr]).toEqual([0, expect.not.stringContaining("----->")]);
    expect((await gitwharf("apps")).stdout).toBe("");

    const first = await commit({ Procfile: "web: node server.js\n", "server.js": SERVER });
    const pushed = await app.try("push", `${server.url}/team/shop.git`, "main");
    expect([pushed.status, pushed.stderr]).toEqual([
      0,
      expect.stringContaining("-----> Creating app team-shop"),
    ]);
    expect(pushed.stderr).toContain(`http://team-shop.localhost:${port} deployed`);
    expect(await get("team-shop.localhost")).toEqual([200, "one"]);
    expect((await gitwharf("apps")).stdout).toBe(`team-shop  team/shop  main  v1  ${first.slice(0, 10)}\n`);

    expect(await gitwharf("config", "team-shop", "WORD=two")).toMatchObject({
      status: 0,
      stdout: "v2 runs\n",
    });
    expect(await get("team-shop.localhost")).toEqual([200, "two"]);
    expect(await gitwharf("rollback", "team-shop")).toMatchObject({ status: 0, stdout: "v3 runs\n" });
    expect(await get("team-shop.localhost")).toEqual([200, "one"]);

    const again = await gitwharf("builds", "retry", "team-shop");
    expect([again.status, again.stdout]).toEqual([0, expect.stringContaining("Launching... done, v4")]);
    expect(await get("team-shop.localhost")).toEqual([200, "two"]);
    expect((await gitwharf("builds", "team-shop")).stdout).toMatch(
      /^[0-9a-f]{8} {2}[0-9a-f]{10} {2}\S+ {2}\d+\.\ds {2}\S+ {2}succeeded\n[^\n]* succeeded\n$/,
    );
    expect(await gitwharf("builds", "cancel", "team-shop")).toMatchObject({
      status: 1,
      stderr: "gitwharf: nothing of 'team-shop' is being built\n",
    });

    const metrics = await (await fetch(`${metricsUrl(server)}/metrics`)).text();
    expect(metrics).toContain('gitwharf_builds_total{outcome="succeeded"} 2');
    expect(metrics).toContain('gitwharf_releases_total{outcome="launched"} 2');
    expect(metrics).toContain('gitwharf_app_processes{state="up"} 1');
    expect(metrics).toMatch(/^gitwharf_requests_total/m);
    const entries = readFileSync(audit, "utf8")
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as { event: string; details?: Record<string, string> });
    const events = entries.map(({ event }) => event);
    for (const event of ["build", "release", "app-config", "app-rollback", "build-retry"])
      expect(events).toContain(event);
    expect(JSON.stringify(entries)).not.toContain("two");

    expect(await gitwharf("apps", "create", "later")).toMatchObject({
      status: 0,
      stdout: "pushes to main of later are deployed as later\n",
    });
    expect(await gitwharf("ps", "later")).toMatchObject({
      status: 0,
      stderr: "'later' has no processes: it is a static site, runs elsewhere, or was not deployed\n",
    });
    expect(await gitwharf("apps", "create", "later")).toMatchObject({ status: 1 });
    expect(await gitwharf("apps", "create", "No")).toMatchObject({ status: 2 });
    expect(await gitwharf("apps", "remove", "later")).toMatchObject({ status: 0 });

    expect(await gitwharf("apps", "remove", "team-shop")).toMatchObject({ status: 0 });
    expect((await get("team-shop.localhost"))[0]).toBe(404);
    expect((await gitwharf("apps")).stdout).toBe("");
    const left = readdirSync(root, { recursive: true, encoding: "utf8" });
    const ofIt = left.filter((path) => !path.startsWith("team") && /team-shop|\.(?:tar|log)$/.test(path));
    expect(ofIt).toEqual([]);
    expect(await app.run("ls-remote", `${server.url}/team/shop.git`, "main")).toContain(first);
  });

  it("starts what ran when it starts again, and refuses what does not build", async () => {
    const config = join(workspace.directory, "config.json");
    writeFileSync(
      config,
      JSON.stringify({ deploy: { executor: "plain", branch: "live", url: "https://APP.example.org" } }),
    );
    server = await startServe(root, "--config", config);
    expect(server.printed()).toContain("a push to live");
    expect(server.printed()).toContain("served on https://APP.example.org");
    await commit({ Procfile: "web: node server.js\n", "server.js": SERVER });
    const elsewhere = await app.try("push", `${server.url}/shop.git`, "main");
    expect([elsewhere.status, elsewhere.stderr]).toEqual([0, expect.not.stringContaining("----->")]);
    const pushed = await app.try("push", `${server.url}/shop.git`, "main:live");
    expect(pushed.stderr).toContain("https://shop.example.org deployed");
    expect(await get("shop.localhost")).toEqual([200, "one"]);

    expect(await server.end("SIGTERM")).toBe(0);
    server = await startServe(root, "--config", config);
    for (let round = 0; round < 500 && (await get("shop.localhost"))[0] !== 200; round++)
      await new Promise((resolve) => setTimeout(resolve, 20));
    expect(await get("shop.localhost")).toEqual([200, "one"]);

    const before = await app.run("rev-parse", "HEAD");
    await commit({ "gitwharf.yml": "build: 'echo no way; exit 3'\n" });
    const broken = await app.try("push", `${server.url}/shop.git`, "main:live");
    expect([broken.status, broken.stderr]).toEqual([1, expect.stringContaining("no way")]);
    expect(broken.stderr).toMatch(/\[remote rejected\] main -> live \(build failed\)/);
    expect(await app.run("ls-remote", `${server.url}/shop.git`, "live")).toContain(before);
    expect(await get("shop.localhost")).toEqual([200, "one"]);
  });

  it("attaches to a build that is at work, and ends it", async () => {
    server = await startServe(root, "--deploy", "plain");
    mkdirSync(root, { recursive: true });
    await commit({ "gitwharf.yml": "build: 'echo it has begun; sleep 600'\nprocesses: { web: 'true' }\n" });
    const push = app.try("push", `${server.url}/shop.git`, "main");
    for (let round = 0; round < 500; round++)
      if ((await gitwharf("builds", "shop", "--json")).stdout.includes('"running"')) break;
    const following = gitwharf("logs", "shop", "--build");
    expect(await gitwharf("builds", "cancel", "shop")).toMatchObject({ status: 0 });
    const followed = await following;
    expect([followed.status, followed.stdout]).toEqual([1, expect.stringContaining("it has begun")]);
    const pushed = await push;
    expect([pushed.status, pushed.stderr]).toEqual([1, expect.stringContaining("build cancelled")]);
  });

  it("ends when it is told to while an app has not come up yet", async () => {
    server = await startServe(root, "--deploy", "plain");
    const late = join(workspace.directory, "late");
    // The second release waits for a file that does not come.
    const web = `test -z "$LATE" || { touch ${late}; sleep 600; }; node server.js`;
    await commit({ Procfile: `web: ${web}\n`, "server.js": SERVER });
    await app.run("push", "-q", `${server.url}/shop.git`, "main");
    const changing = gitwharf("config", "shop", "LATE=1");
    await until(() => existsSync(late));
    await server.end("SIGKILL");
    expect((await changing).status).toBe(1);
    rmSync(late);
    const again = spawn(process.execPath, [
      CLI,
      "serve",
      root,
      "--http",
      "0",
      "--ssh",
      "off",
      "--deploy",
      "plain",
    ]);
    const ended = once(again, "close");
    try {
      await until(() => existsSync(late));
      again.kill("SIGTERM");
      expect(await ended).toEqual([0, null]);
    } finally {
      again.kill("SIGKILL");
    }
  });

  it("may be read by somebody who has read enough", async () => {
    const log = join(root, ".gitwharf", "apps", "shop", "log");
    mkdirSync(log, { recursive: true });
    writeFileSync(join(log, "app.log"), "2026-11-21T10:00:00.000Z app[web.1]: a line\n".repeat(50_000));
    const reading = spawn(process.execPath, [CLI, "logs", "shop", "-n", "50000", "-d", root]);
    let complaint = "";
    reading.stderr.on("data", (chunk: Buffer) => (complaint += chunk.toString()));
    const ended = once(reading, "close");
    await once(reading.stdout, "data");
    reading.stdout.destroy();
    const [status] = (await ended) as [number | null];
    expect([status, complaint]).toEqual([0, ""]);
  });

  it("says what is wrong, and what to do", async () => {
    // The sandbox of a server that is root runs as somebody else.
    chmodSync(workspace.directory, 0o711);
    const tell = async (deploy: unknown, ...flags: readonly string[]): Promise<GitResult> => {
      const config = join(workspace.directory, "config.json");
      writeFileSync(config, JSON.stringify({ deploy }));
      return runGitwharf(
        ["serve", root, "--http", "127.0.0.1:0", "--ssh", "off", "--config", config, ...flags],
        {
          cwd: workspace.directory,
        },
      );
    };
    expect(await tell({ brnach: "main" })).toMatchObject({
      status: 2,
      stderr: expect.stringContaining("deploy has no 'brnach'; known are ") as string,
    });
    expect(await tell({ executor: "plain", branch: "a..b" })).toMatchObject({
      status: 2,
      stderr: expect.stringContaining("'a..b' cannot be a branch") as string,
    });
    expect(await tell({ executor: "plain", domain: "a b" })).toMatchObject({
      status: 2,
      stderr: expect.stringContaining("'a b' is no host name") as string,
    });
    expect(await tell({ sandbox: { program: "/no/such/bwrap" } })).toMatchObject({
      status: 2,
      stderr: expect.stringContaining("--deploy plain") as string,
    });
    expect(await tell(false, "--deploy-domain", "example.org")).toMatchObject({
      status: 2,
      stderr: expect.stringContaining("--deploy-domain needs --deploy") as string,
    });
    expect(await tell(true, "--deploy", "docker")).toMatchObject({ status: 2 });
    expect(await gitwharf("ps", "shop")).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("no server that deploys apps") as string,
    });
    expect(await gitwharf("logs", "shop")).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("'shop' has no log") as string,
    });
    expect(await gitwharf("scale", "shop", "web")).toMatchObject({ status: 2 });
    expect(await gitwharf("rollback", "shop", "first")).toMatchObject({ status: 2 });
    expect(await gitwharf("builds", "retry", "shop", "main")).toMatchObject({ status: 2 });
  });
});

function metricsUrl({ printed }: ServeProcess): string {
  return /metrics and health on (http:\S+)/.exec(printed())?.[1] ?? "";
}
