/** examples/deploy-node and examples/static-site: pushed with git, asked as a browser does, looked after by the command line. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { request, type IncomingMessage } from "node:http";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";

const EXAMPLES = fileURLToPath(new URL("../../examples/", import.meta.url));
const CLI = fileURLToPath(new URL("../src/cli/gitwharf.js", import.meta.url));

interface Example {
  readonly http: { readonly url: string; readonly port: number };
  close(): Promise<void>;
}

let workspace: GitClient;
let app: GitClient;
let before: string;
let example: Example;

beforeEach(() => {
  workspace = createWorkspace();
  before = process.cwd();
  // The examples keep ./repositories and ./deploy; here that is a temporary directory.
  process.chdir(workspace.directory);
  // As in the project's own directory, where people try them: what is built below it takes that for its own.
  writeFileSync(join(workspace.directory, "package.json"), '{ "type": "module" }\n');
  process.env["PORT"] = "0";
});
afterEach(async () => {
  process.chdir(before);
  await example.close();
  removeDirectory(workspace);
});

async function start(name: string, files: string): Promise<void> {
  const url = new URL(`../../examples/${name}/server.js`, import.meta.url).href;
  example = (await import(/* @vite-ignore */ url)) as Example;
  cpSync(join(EXAMPLES, name, files), join(workspace.directory, "app"), { recursive: true });
  app = workspace.in("app");
  await app.run("init", "-q");
  await commit("First");
}

async function commit(message: string): Promise<void> {
  await app.run("add", "-A");
  await app.run("commit", "-q", "-m", message);
}

async function get(
  host: string,
  path = "/",
): Promise<{ readonly status: number | undefined; readonly body: string }> {
  // Not every resolver knows the names below `localhost`, as browsers do.
  const { port } = example.http;
  const asked = request({
    port,
    host: "127.0.0.1",
    path,
    headers: { host: `${host}:${port}` },
    agent: false,
  });
  asked.end();
  const [answer] = (await once(asked, "response")) as [IncomingMessage];
  let body = "";
  for await (const chunk of answer as AsyncIterable<Buffer>) body += chunk.toString();
  return { status: answer.statusCode, body };
}

async function gitwharf(
  ...args: readonly string[]
): Promise<{ readonly status: number | null; readonly output: string }> {
  const child = spawn(process.execPath, [CLI, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()));
  const [status] = (await once(child, "close")) as [number | null];
  return { status, output };
}

describe("examples/deploy-node", () => {
  it("is built, answers, refuses what is broken, and rolls back", async () => {
    await start("deploy-node", "app");
    const remote = `${example.http.url}/shop.git`;
    const url = `http://shop.localhost:${example.http.port}`;
    expect((await get("shop.localhost")).status).toBe(404);
    const first = await app.try("push", remote, "main");
    expect([first.status, first.stderr]).toEqual([0, expect.stringContaining("Launching... done, v1")]);
    expect(first.stderr).toContain(`${url} deployed`);
    expect(await get("shop.localhost")).toEqual({ status: 200, body: "Hello from v1\n" });
    expect(await app.run("ls-remote", remote, "main")).toContain(await app.run("rev-parse", "main"));

    writeFileSync(join(app.directory, "server.js"), "oh no (");
    await commit("Broken");
    const broken = await app.try("push", remote, "main");
    expect([broken.status, broken.stderr]).toEqual([
      1,
      expect.stringContaining("[remote rejected] main -> main"),
    ]);
    expect(await get("shop.localhost")).toEqual({ status: 200, body: "Hello from v1\n" });

    cpSync(join(EXAMPLES, "deploy-node", "app", "server.js"), join(app.directory, "server.js"));
    const text = readFileSync(join(app.directory, "server.js"), "utf8").replace("Hello", "Welcome");
    writeFileSync(join(app.directory, "server.js"), text);
    await commit("Welcome");
    expect((await app.try("push", remote, "main")).status).toBe(0);
    expect((await get("shop.localhost")).body).toMatch(/^Welcome from v\d+\n$/);

    expect(await gitwharf("config", "shop", "GREETING=Hi")).toMatchObject({ status: 0 });
    expect((await get("shop.localhost")).body).toMatch(/^Hi from v\d+\n$/);
    expect(await gitwharf("rollback", "shop", "v1")).toMatchObject({ status: 0 });
    expect((await get("shop.localhost")).body).toMatch(/^Hello from v\d+\n$/);
    expect(await gitwharf("scale", "shop", "web=2")).toEqual({ status: 0, output: "web=2\n" });
    const ps = await gitwharf("ps", "shop");
    expect(ps.output).toMatch(/^web\.1 +up .*\nweb\.2 +up .*\n$/);
    expect((await gitwharf("releases", "shop")).output).toMatch(/^v\d+ .* current .*\n(v\d+ .*\n)+$/);
    expect(await gitwharf("run", "shop", "--", "sh", "-c", "echo $GITWHARF_APP; exit 3")).toEqual({
      status: 3,
      output: "shop\n",
    });
    expect((await gitwharf("logs", "shop", "-n", "1000")).output).toContain("gitwharf[web.2]: ");
    const build = await gitwharf("logs", "shop", "--build");
    expect([build.status, build.output]).toEqual([
      0,
      expect.stringContaining("-----> Running node --check server.js"),
    ]);
    expect(await gitwharf("ps", "nobody")).toMatchObject({ status: 1 });
    expect((await gitwharf("ps", "-d", "elsewhere")).output).toContain("no server that deploys apps");
  });
});

describe("examples/static-site", () => {
  it("serves pushed markdown, and the old page when the new one does not build", async () => {
    await start("static-site", "site");
    const remote = `${example.http.url}/site.git`;
    const first = await app.try("push", remote, "main");
    expect([first.status, first.stderr]).toEqual([0, expect.stringContaining("index.md -> index.html")]);
    const home = await get("site.localhost");
    expect(home).toMatchObject({
      status: 200,
      body: expect.stringContaining("Push <strong>markdown</strong>") as string,
    });
    expect((await get("site.localhost", "/more")).body).toContain("<code>git push</code>");
    expect((await get("site.localhost", "/build.js")).status).toBe(404);

    writeFileSync(join(app.directory, "build.js"), "process.exit(1);\n");
    await commit("Broken");
    expect((await app.try("push", remote, "main")).status).toBe(1);
    expect(await get("site.localhost")).toEqual(home);

    await app.run("reset", "-q", "--hard", "HEAD~1");
    writeFileSync(join(app.directory, "index.md"), "# Changed\n");
    await commit("Changed");
    expect((await app.try("push", remote, "main")).status).toBe(0);
    expect((await get("site.localhost")).body).toContain("<h1>Changed</h1>");
  });
});

describe("docs/deploy.md", () => {
  it("gets there in ten lines", async () => {
    const page = readFileSync(new URL("../../docs/deploy.md", import.meta.url), "utf8");
    const [, block = ""] = /^```js\n([^]*?openDeployment[^]*?)^```$/m.exec(page) ?? [];
    expect(block.split("\n").filter((line) => line !== "" && !line.startsWith("import"))).toHaveLength(8);
    // Inside the package, where `gitwharf` means the package itself.
    const file = fileURLToPath(new URL(`./docs-deploy-${process.pid}.mjs`, import.meta.url));
    const source = block.replaceAll("createSandboxExecutor", "createPlainExecutor").replace("5000", "0");
    writeFileSync(
      file,
      `${source}export { http };\nexport async function close() {\n  await git.close({ graceMs: 0 });\n  await deployment.close();\n}\n`,
    );
    try {
      example = (await import(/* @vite-ignore */ file)) as Example;
    } finally {
      rmSync(file);
    }
    cpSync(join(EXAMPLES, "deploy-node", "app"), join(workspace.directory, "app"), { recursive: true });
    app = workspace.in("app");
    await app.run("init", "-q");
    await commit("First");
    const pushed = await app.try("push", `${example.http.url}/shop.git`, "main");
    expect(pushed.stderr).toContain(`http://shop.localhost:${example.http.port} deployed`);
    expect((await get("shop.localhost")).body).toBe("Hello from v1\n");
  });
});
