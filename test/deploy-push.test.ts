/** Push to deploy with the real client: what is built and how, what the pusher sees, what is refused, who waits for whom. */
import { execFileSync, spawn } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  type App,
  createPlainExecutor,
  createSandboxExecutor,
  type Deploy,
  type DeployOptions,
  openDeploy,
} from "../src/index.js";
import { createGitServer, type GitServer } from "../src/server/git-server.js";
import type { RepositoryStore } from "../src/storage/contracts/repository.js";
import { createDiskRepositoryStore } from "../src/storage/disk/disk-repository-store.js";
import { installBubblewrap, SKIP_SANDBOX } from "./support/bubblewrap.js";
import { createWorkspace, type GitClient, type GitResult, removeDirectory } from "./support/git-client.js";

let workspace: GitClient;
let app: GitClient;
let deploy: Deploy;
let server: GitServer;
let url: string;
const problems: string[] = [];
const stores: RepositoryStore[] = [];

beforeEach(async () => {
  workspace = createWorkspace();
  chmodSync(workspace.directory, 0o711);
  await workspace.run("init", "-q", "app");
  app = workspace.in("app");
});
afterEach(async () => {
  await server?.close({ graceMs: 0 });
  await deploy?.close();
  for (const store of stores.splice(0)) await store.close();
  removeDirectory(workspace);
  expect(problems.splice(0)).toEqual([]);
});

async function start(options: Partial<DeployOptions> = {}): Promise<void> {
  const repositories = createDiskRepositoryStore({
    directory: join(workspace.directory, "served"),
    durability: "none",
  });
  stores.push(repositories);
  deploy = await openDeploy({
    database: `sqlite:${join(workspace.directory, "state/deploy.sqlite")}`,
    directory: join(workspace.directory, "deploy"),
    executor: createPlainExecutor({ warn: () => undefined }),
    leaseMs: 2000,
    log: (text, error) => void problems.push(`${text} ${String(error)}`),
    repositories,
    ...options,
  });
  server = createGitServer({
    repositories,
    autoCreate: "push",
    handlers: deploy.handlers,
    log: () => undefined,
  });
  url = `${(await server.listen({ http: 0 })).http.url}/shop.git`;
  if ((await deploy.state.apps.find("shop")) === undefined) await deploy.state.createApp({ name: "shop" });
}

async function commit(files: Record<string, string>, message = "a commit"): Promise<string> {
  for (const [path, text] of Object.entries(files)) {
    const place = join(app.directory, path);
    mkdirSync(join(place, ".."), { recursive: true });
    writeFileSync(place, text, { mode: text.startsWith("#!") ? 0o755 : 0o644 });
  }
  await app.run("add", "-A");
  await app.run("commit", "-q", "--allow-empty", "-m", message);
  return app.run("rev-parse", "HEAD");
}

const push = (...args: readonly string[]): Promise<GitResult> =>
  app.try("push", url, ...(args.length === 0 ? ["main"] : args));
/** As the pusher reads it, without what git puts before. */
const said = (result: GitResult): string =>
  result.stderr.replaceAll(/^remote: ?/gm, "").replaceAll(/ +$/gm, "");
async function shop(): Promise<App> {
  const found = await deploy.state.apps.find("shop");
  if (found === undefined) throw new Error("there is no app");
  return found;
}
const releasesOf = async () => deploy.state.releases.list((await shop()).id);
const buildsOf = async () => deploy.state.builds.list((await shop()).id);
const filesIn = (slug: string): readonly string[] =>
  execFileSync("tar", ["-tf", slug], { encoding: "utf8" }).trim().split("\n").toSorted();

/** A buildpack of ours, as Heroku's look. */
function buildpack(name: string, programs: Record<string, string>): { name: string; directory: string } {
  const directory = join(workspace.directory, name);
  mkdirSync(join(directory, "bin"), { recursive: true });
  for (const [program, text] of Object.entries(programs))
    writeFileSync(join(directory, "bin", program), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  return { name, directory };
}

describe("a push to the branch that is deployed", () => {
  it("is built by gitwharf.yml, printed, released", async () => {
    await start({ launch: async () => ({ url: "http://shop.localhost:5000" }) });
    const oid = await commit({
      "gitwharf.yml":
        "build:\n- echo one; mkdir -p tmp; echo made > made.txt\n- echo two >&2\nprocesses:\n  web: node .\n",
      ".slugignore": "tmp\n*.log\n",
      "x.log": "x",
      Procfile: "worker: ./run\n",
    });
    const result = await push();
    expect(result.status).toBe(0);
    expect(said(result)).toContain(
      "-----> Running echo one; mkdir -p tmp; echo made > made.txt\n       one\n-----> Running echo two >&2\n       two\n-----> Build succeeded in ",
    );
    expect(said(result)).toMatch(
      /-----> Discovering process types\n {7}Procfile declares types {5}-> worker\n[^]*-----> Compressing\.\.\.\n {7}Done: [0-9.]+[BK]\n-----> Releasing v1\n-----> Launching\.\.\. done, v1\n {7}http:\/\/shop\.localhost:5000 deployed to gitwharf\n/,
    );
    const [release] = await releasesOf();
    expect(release).toMatchObject({
      number: 1,
      commit: oid,
      status: "current",
      processTypes: { web: "node .", worker: "./run" },
      description: `Deploy ${oid.slice(0, 7)}`,
    });
    expect(filesIn(release?.slugPath ?? "")).toEqual([
      "./.slugignore",
      "./Procfile",
      "./gitwharf.yml",
      "./made.txt",
    ]);
    expect(await workspace.run("ls-remote", url, "refs/heads/main")).toContain(oid);
    // Nothing stays but the slug, the cache and the output.
    expect(existsSync(join(deploy.state.directories.root, "builds", release?.buildId ?? "x"))).toBe(false);
  });

  it("is refused when the build fails, and the ref stays", async () => {
    await start();
    await commit({ "gitwharf.yml": "build: 'echo broken; exit 3'\n" });
    const result = await push();
    expect(result.status).not.toBe(0);
    expect(said(result)).toContain(
      "       broken\n !     Build failed: the build command failed: it exited with status 3.\n",
    );
    expect(said(result)).toContain(
      " !     Push rejected: the build command failed: it exited with status 3.\n",
    );
    expect(result.stderr).toContain("! [remote rejected] main -> main (build failed)");
    expect(await releasesOf()).toEqual([]);
    expect((await workspace.try("ls-remote", url)).stdout).not.toContain("main");
  });

  it("is accepted all the same where that is wanted, and leaves a release that failed", async () => {
    await start({ onBuildFailure: "accept" });
    const oid = await commit({ "gitwharf.yml": "build: exit 3\n" });
    const result = await push();
    expect(result.status).toBe(0);
    expect(said(result)).toContain(
      " !     Release v1 failed: the build command failed: it exited with status 3.\n",
    );
    expect(await releasesOf()).toMatchObject([{ number: 1, status: "failed", commit: oid, slugPath: "" }]);
    await commit({ "gitwharf.yml": "build: echo well\n" });
    expect((await push()).status).toBe(0);
    expect(await releasesOf()).toMatchObject([
      { number: 2, status: "current" },
      { number: 1, status: "failed" },
    ]);
  });

  it("is refused when nobody knows how to build it, or its files make no sense", async () => {
    await start();
    await commit({ "main.c": "int main;" });
    expect(said(await push())).toContain("no way to build this was found");
    await commit({ "gitwharf.yml": "static: ../..\n" });
    expect(said(await push())).toContain("gitwharf.yml: static is a directory of what is pushed");
    await commit({ "gitwharf.yml": "build: &x b\nstatic: *x\n" });
    expect(said(await push())).toContain("gitwharf.yml, line 2: aliases are not read here");
  });

  it("serves a static site as it is, or what the build makes of it", async () => {
    await start();
    await commit({ "index.html": "<h1>hello</h1>" });
    expect((await push()).status).toBe(0);
    await commit({ "gitwharf.yml": "build: mkdir -p dist && cp index.html dist\nstatic: dist\n" });
    expect((await push()).status).toBe(0);
    await commit({ "gitwharf.yml": "build: ln -s / dist\nstatic: dist\n" });
    expect(said(await push())).toContain("there is no directory dist to serve");
    expect((await releasesOf()).map(({ processTypes }) => processTypes)).toEqual([
      { static: "dist" },
      { static: "." },
    ]);
  });

  it("does not build other branches and tags", async () => {
    await start();
    await commit({ "gitwharf.yml": "build: exit 1\n" });
    expect((await push("main:feature/x")).status).toBe(0);
    expect((await push("main:refs/tags/v1")).status).toBe(0);
    expect(await buildsOf()).toEqual([]);
  });
});

describe("buildpacks", () => {
  it("are asked in order, and called as Heroku calls them", async () => {
    await start({
      stack: "heroku-22",
      buildpacks: [
        { name: "no", directory: buildpack("no", { detect: "exit 1", compile: "exit 1" }).directory },
        buildpack("yes", {
          detect: '[ -f "$1/package.json" ] && echo Node.js',
          compile: [
            'echo "-----> Installing for $STACK $SOURCE_VERSION"',
            'echo "       $(cat "$3/GREETING")"',
            'echo "       cached: $(cat "$2/count" 2>/dev/null)"',
            'echo x >> "$2/count"; echo made > "$1/made"',
          ].join("\n"),
          release:
            "echo '---'; echo 'default_process_types:'; echo '  web: npm start'; echo 'config_vars:'; echo '  NODE_ENV: production'",
        }),
      ],
    });
    await deploy.state.setVariable(await shop(), "GREETING", "hello there");
    const oid = await commit({ "package.json": "{}" });
    const result = await push();
    expect(result.status).toBe(0);
    expect(said(result)).toContain(
      "-----> Using buildpack: yes\n-----> Node.js app detected\n" +
        `-----> Installing for heroku-22 ${oid}\n       hello there\n       cached:\n`,
    );
    expect(await releasesOf()).toMatchObject([
      { processTypes: { web: "npm start" }, config: { GREETING: "hello there", NODE_ENV: "production" } },
    ]);
    await commit({ "other.txt": "x" });
    expect(said(await push())).toContain("       cached: x\n");
  });

  it("are fetched from where it is allowed, and from nowhere else", async () => {
    await workspace.run("init", "-q", "pack");
    const pack = workspace.in("pack");
    buildpack("pack", { detect: "echo Fetched", compile: "echo compiled" });
    await pack.run("add", "-A");
    await pack.run("commit", "-q", "-m", "x");
    await start({ allowedBuildpacks: [`file://${workspace.directory}/*`] });
    await commit({ x: "y" });
    await deploy.state.setVariable(await shop(), "BUILDPACK_URL", `file://${workspace.directory}/pack#main`);
    const result = await push();
    expect(said(result)).toContain("-----> Fetched app detected\ncompiled\n");
    expect(result.status).toBe(0);
    await deploy.state.setVariable(await shop(), "BUILDPACK_URL", "file:///etc");
    await commit({ x: "z" });
    expect(said(await push())).toContain("the buildpack file:///etc is not allowed here");
  });

  it("refuse a push when compile fails or bin/release prints nonsense", async () => {
    await start({ buildpacks: [buildpack("p", { detect: "echo X", compile: "exit 2" })] });
    await commit({ x: "y" });
    expect(said(await push())).toContain(
      " !     Push rejected: bin/compile failed: it exited with status 2.\n",
    );
    buildpack("p", { compile: ":", release: "echo 'a: [b'" });
    expect(said(await push())).toMatch(/bin\/release, line \d: Flow sequence .* end with a \]/);
  });
});

describe("builds as jobs", () => {
  /** Waits, at most for a while, until a file is there. */
  const WAIT = "i=0; while [ ! -e ../../../../../go ] && [ $i -lt 600 ]; do i=$((i+1)); sleep 0.05; done";

  async function until(what: () => Promise<boolean> | boolean): Promise<void> {
    for (let looks = 0; !(await what()); looks++) {
      if (looks > 1000) throw new Error("it does not happen");
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
  const go = (): void => writeFileSync(join(workspace.directory, "go"), "");

  it("go on when the pusher leaves, and are found again by who pushes the same", async () => {
    await start();
    const oid = await commit({ "gitwharf.yml": `build: 'echo begun; ${WAIT}; echo over'\n` });
    const client = spawn("git", ["push", url, "main"], {
      cwd: app.directory,
      stdio: "ignore",
      detached: true,
    });
    await until(async () => (await buildsOf())[0]?.status === "running");
    process.kill(-(client.pid ?? 0), "SIGKILL");
    await until(() => server.active === 0);
    expect(await buildsOf()).toMatchObject([{ status: "running", commit: oid }]);
    const again = push();
    go();
    const result = await again;
    expect(result.status).toBe(0);
    expect(said(result)).toContain("already: this is what it prints\n");
    expect(said(result)).toMatch(/ {7}begun\n {7}over\n/);
    expect(await buildsOf()).toHaveLength(1);
    expect(await releasesOf()).toMatchObject([{ number: 1, commit: oid }]);
  });

  it("are done one after the other, and the second pusher is told", async () => {
    await start();
    await commit({ "gitwharf.yml": `build: '${WAIT}'\n` });
    const first = push();
    await until(async () => (await buildsOf())[0]?.status === "running");
    await workspace.run("clone", "-q", "app", "other");
    const other = workspace.in("other");
    await other.run("commit", "-q", "--allow-empty", "-m", "another");
    const second = other.try("push", url, "main");
    await until(async () => (await buildsOf()).length === 2);
    expect((await buildsOf()).map(({ status }) => status)).toEqual(["queued", "running"]);
    go();
    expect((await first).status).toBe(0);
    expect(said(await second)).toContain(" !     Another push to shop is being built");
    expect((await buildsOf()).map(({ status }) => status)).toEqual(["succeeded", "succeeded"]);
  });

  it("can be cancelled, and followed from elsewhere", async () => {
    await start();
    await commit({ "gitwharf.yml": `build: 'echo begun; ${WAIT}'\n` });
    const pushed = push();
    await until(async () => (await buildsOf())[0]?.status === "running");
    let text = "";
    const followed = deploy.follow("shop", { print: (more) => void (text += more) });
    await until(() => text.includes("begun"));
    expect(await deploy.cancel((await buildsOf())[0]?.id ?? "")).toBe(true);
    const result = await pushed;
    expect(result.stderr).toContain("[remote rejected] main -> main (build cancelled)");
    expect(await followed).toMatchObject({ status: "cancelled" });
  });

  it("are done once more without an empty commit", async () => {
    await start();
    const oid = await commit({ "gitwharf.yml": "build: date +%N > made\n" });
    await push();
    let text = "";
    const build = await deploy.rebuild("shop", { by: "ada", print: async (more) => void (text += more) });
    expect(build).toMatchObject({ status: "succeeded", attempt: 2, commit: oid });
    expect(text).toContain("-----> Launching... done, v2\n");
    expect(await releasesOf()).toMatchObject([
      { number: 2, status: "current", createdBy: "ada" },
      { number: 1, status: "replaced" },
    ]);
  });

  it("are done again when the server stops in the middle", async () => {
    await start();
    await commit({ "gitwharf.yml": `build: 'echo begun; ${WAIT}'\n` });
    const pushed = push();
    await until(async () => (await buildsOf())[0]?.status === "running");
    await server.close({ graceMs: 0 });
    await deploy.close();
    expect((await pushed).status).not.toBe(0);
    go();
    await start();
    await until(async () => (await buildsOf())[0]?.status === "succeeded");
    // Who pushes again finds it done.
    expect((await push()).status).toBe(0);
    expect(await buildsOf()).toHaveLength(1);
    expect(await releasesOf()).toMatchObject([{ number: 1, status: "current" }]);
  });

  it("that were pushed and not released are released after a crash", async () => {
    await start();
    const oid = await commit({ "index.html": "x" });
    await push();
    const again = await commit({ "index.html": "y" });
    // What a process that died between the ref and the release leaves.
    const dying = createGitServer({
      repositories: join(workspace.directory, "served"),
      handlers: { ...deploy.handlers, postReceive: () => undefined },
      log: () => undefined,
    });
    try {
      url = `${(await dying.listen({ http: 0 })).http.url}/shop.git`;
      expect((await push()).status).toBe(0);
    } finally {
      await dying.close({ graceMs: 0 });
    }
    expect((await releasesOf()).map(({ commit: of }) => of)).toEqual([oid]);
    await deploy.recover();
    expect(await releasesOf()).toMatchObject([
      { commit: again, status: "current" },
      { commit: oid, status: "replaced" },
    ]);
  });

  it("keep what they print, without colours, for who reads it later", async () => {
    await start();
    await commit({ "gitwharf.yml": `build: printf '\\033[31mred\\033[0m\\n'\n` });
    const result = await push();
    expect(said(result)).toContain("       red\n");
    expect(result.stderr).not.toContain("\x1b[31m");
    const [build] = await buildsOf();
    expect(readFileSync(deploy.state.directories.logOf(build?.id ?? ""), "utf8")).toContain("\x1b[31mred");
  });

  it("end when their time is up", async () => {
    await start({ limits: { timeoutMs: 500, killAfterMs: 200 } });
    await commit({ "gitwharf.yml": "build: sleep 1000\n" });
    expect(said(await push())).toContain("the build command failed: it ran for more than 0.5 seconds");
  });
});

describe("a pusher who stops reading", () => {
  it("slows the build, and gets everything once he reads on", async () => {
    await start({ limits: { outputBytesMax: 64 * 2 ** 20 } });
    const lines = 800_000;
    await commit({ "gitwharf.yml": `build: seq -f 'line %.0f of the output of this build' ${lines}\n` });
    const client = spawn("git", ["push", url, "main"], {
      cwd: app.directory,
      stdio: ["ignore", "ignore", "pipe"],
      env: { ...process.env, GIT_CONFIG_GLOBAL: "/dev/null", LANG: "C" },
    });
    const log = async (): Promise<number> => {
      const [build] = await buildsOf();
      return build === undefined ? 0 : (await stat(deploy.state.directories.logOf(build.id))).size;
    };
    // Nobody reads: what was printed stays where it is, far from its end.
    let size = -1;
    let same = 0;
    for (let looks = 0; same < 20 && looks < 1000; looks++) {
      await new Promise((resolve) => setTimeout(resolve, 25));
      const now = await log().catch(() => 0);
      same = now === size && now > 0 ? same + 1 : 0;
      size = now;
    }
    expect(same).toBe(20);
    expect(size).toBeLessThan((lines * 40) / 2);
    let read = 0;
    for await (const chunk of client.stderr) read += String(chunk).match(/line \d+ of/g)?.length ?? 0;
    expect(read).toBeGreaterThan(lines * 0.99);
    expect(await releasesOf()).toHaveLength(1);
  });
});

describe("the buildpacks of examples/", () => {
  const examples = fileURLToPath(new URL("../../examples/buildpacks/", import.meta.url));
  const all = ["node", "python", "static"].map((name) => ({ name, directory: join(examples, name) }));

  it.each<[string, Record<string, string>, Record<string, string>, string]>([
    [
      "Node.js",
      { "package.json": '{"scripts":{"start":"node x.js","build":"echo built"}}', "x.js": "" },
      { web: "npm start" },
      "-----> Build\n       built\n",
    ],
    [
      "Python",
      { "requirements.txt": "", "app.py": "print(1)" },
      { web: "python3 app.py" },
      "-----> Using Python 3",
    ],
    ["Static site", { "public/index.html": "x" }, { static: "public" }, "-----> 1 files to serve\n"],
  ])("build a %s app", async (framework, files, processTypes, text) => {
    await start({ buildpacks: all });
    await commit(files);
    const result = await push();
    expect(said(result)).toContain(`-----> ${framework} app detected\n`);
    expect(said(result)).toContain(text);
    expect(result.status).toBe(0);
    expect(await releasesOf()).toMatchObject([{ processTypes }]);
  });
});

describe.skipIf(SKIP_SANDBOX)("in the sandbox", () => {
  it("a push is built, and sees nothing of the machine", async () => {
    await installBubblewrap();
    await start({ executor: createSandboxExecutor() });
    writeFileSync(join(workspace.directory, "secret"), "hidden", { mode: 0o644 });
    const secret = join(workspace.directory, "secret");
    await commit({ "gitwharf.yml": `build: 'pwd; id -u; cat ${secret} || echo nothing; echo x > made'\n` });
    const result = await push();
    expect(said(result)).toContain("       /tmp/build\n");
    expect(said(result)).toContain("       nothing\n");
    expect(said(result)).not.toContain("hidden");
    expect(result.status).toBe(0);
    const [release] = await releasesOf();
    expect(filesIn(release?.slugPath ?? "")).toContain("./made");
  });
});
