/** How hooks end, and what they print: all of it with the real client. */
import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createRepositoryHooks } from "../src/hooks/repository-hooks.js";
import { runHook } from "../src/hooks/run-hook.js";
import { createTestServer, type TestServer } from "../src/testing/test-server.js";
import type { GitClient } from "./support/git-client.js";
import { createHookedRepositories, type HookedRepositories } from "./support/hooked-repositories.js";
import { writeProcReceive } from "./support/proc-receive-hook.js";
import { writeHook } from "./support/record-hooks.js";
import { appears, isRunning, stops } from "./support/running.js";
import { settled } from "./support/settled.js";
import { startPush } from "./support/start-push.js";

let made: HookedRepositories;
let app: GitClient;
let server: TestServer;
/** Its hooks may run for half a second, and get a twentieth to clean up. */
let strict: TestServer;
let bare: GitClient;
let url: string;
let oid: string;
let count = 0;
const logged: string[] = [];

beforeAll(async () => {
  made = await createHookedRepositories({ "receive.procReceiveRefs": "refs/for" });
  const { workspace } = made;
  ({ app, second: oid } = made);
  const repositories = `${workspace.directory}/served`;
  const environment = process.env;
  server = await createTestServer({
    log: ({ level, message }) => void (level === "info" || logged.push(message)),
    repositories,
    durability: "none",
    handlers: createRepositoryHooks({ environment, killAfterMs: 50 }),
  });
  strict = await createTestServer({
    repositories,
    durability: "none",
    handlers: createRepositoryHooks({
      environment,
      timeoutMs: 500,
      killAfterMs: 50,
      outputBytesMax: 100_000,
    }),
  });
});
afterAll(async () => {
  await server.close();
  await strict.close();
  made.remove();
});
beforeEach(async () => {
  const name = `r${count++}`;
  bare = await made.create(`served/${name}.git`);
  url = server.urlOf(name);
});

const strictUrl = (): string => url.replace(server.url, strict.url);
const refs = (): Promise<string> => bare.run("for-each-ref", "--format=%(refname)");

/** Packs and quarantines; git makes `info` and `pack` itself. */
const objects = (): readonly string[] =>
  readdirSync(`${bare.directory}/objects`, { recursive: true })
    .map(String)
    .filter((name) => name !== "info" && name !== "pack");

const MANY = 3000;
const refspecs = (): readonly string[] =>
  Array.from({ length: MANY }, (_, i) => `${oid}:refs/heads/branch-with-a-name-${i}`);

describe("a hook whose client has gone", () => {
  it.each([
    ["pre-receive", "echo $$ > pid; sleep 300 & echo $! >> pid; echo ready > ready; wait"],
    ["update", "echo $$ > pid; sleep 300 & echo $! >> pid; echo ready > ready; wait"],
    [
      "pre-receive",
      "trap '' TERM; echo $$ > pid; (trap '' TERM; sleep 300) & echo $! >> pid; echo ready > ready; while :; do wait; done",
    ],
  ])("is ended with all that it started, and nothing stays: %s: %s", async (name, script) => {
    writeHook(bare, name, script);
    const client = startPush(app, [url, `${oid}:refs/heads/main`]);
    await appears(`${bare.directory}/ready`);
    const pids = readFileSync(`${bare.directory}/pid`, "latin1").trim().split("\n").map(Number);
    expect(pids.map(isRunning)).toEqual([true, true]);
    await client.kill();
    await settled(server.server);
    await stops(...pids);
    expect([await refs(), objects(), logged]).toEqual(["", [], []]);
  });

  it("after the refs have moved is left to do its work", async () => {
    writeHook(
      bare,
      "post-receive",
      "echo ready > ready; i=0; until [ -s go ] || [ $i = 500 ]; do sleep 0.02; i=$((i+1)); done; cat go > done",
    );
    const client = startPush(app, [url, `${oid}:refs/heads/main`]);
    await appears(`${bare.directory}/ready`);
    await client.kill();
    await bare.run("config", "--file", "go", "a.b", "c");
    expect(await appears(`${bare.directory}/done`)).toContain("b = c");
    await settled(server.server);
    expect([await refs(), logged]).toEqual(["refs/heads/main", []]);
  });
});

describe("a hook whose server closes", () => {
  it.each(["pre-receive", "post-receive"])("is ended: %s", async (name) => {
    writeHook(bare, name, "echo $$ > pid; echo ready > ready; sleep 300 & wait");
    const closing = await createTestServer({
      repositories: `${made.workspace.directory}/served`,
      durability: "none",
      log: () => undefined,
      handlers: createRepositoryHooks({ environment: process.env, killAfterMs: 50 }),
    });
    const pushed = app.try("push", "-q", url.replace(server.url, closing.url), `${oid}:refs/heads/main`);
    await appears(`${bare.directory}/ready`);
    const pid = Number(readFileSync(`${bare.directory}/pid`, "latin1"));
    await closing.close();
    await settled(closing.server);
    await stops(pid);
    await pushed;
    expect(await refs()).toBe(name === "pre-receive" ? "" : "refs/heads/main");
  });
});

describe("a hook that takes too long", () => {
  it("and ignores SIGTERM is killed", async () => {
    writeHook(bare, "pre-receive", "trap '' TERM\necho $$ > pid\nwhile :; do sleep 300; done");
    const { status, stderr } = await app.try("push", strictUrl(), "main");
    expect(stderr).toMatch(/error: the 'pre-receive' hook was ended: it ran for more than 0.5 seconds/);
    expect([status, await refs()]).toEqual([1, ""]);
    await stops(Number(readFileSync(`${bare.directory}/pid`, "latin1")));
  });

  it("may clean up on SIGTERM", async () => {
    writeHook(bare, "pre-receive", "trap 'echo cleaned > cleaned; exit 0' TERM\nsleep 300 & wait");
    const { status } = await app.try("push", strictUrl(), "main");
    expect([status, await refs()]).toEqual([1, ""]);
    expect(existsSync(`${bare.directory}/cleaned`)).toBe(true);
  });

  it.each(["", "trap '' TERM; "])("as proc-receive fails: %s", async (trap) => {
    writeHook(bare, "proc-receive", `${trap}echo $$ > pid\nwhile :; do sleep 300; done`);
    const { stderr } = await app.try("push", strictUrl(), "main:refs/for/main");
    expect(stderr).toContain("(fail to run proc-receive hook)");
    expect(stderr).toMatch(/error: the 'proc-receive' hook was ended: it ran for more/);
    await stops(Number(readFileSync(`${bare.directory}/pid`, "latin1")));
  });
});

describe("a hook that reads nothing", () => {
  it.each([
    ["agrees", "exit 0", MANY],
    ["refuses", "exit 1", 0],
    ["closes its input", "exec <&-; sleep 0.1; exit 0", MANY],
    ["reads a line", "read line; exit 0", MANY],
  ])("and %s is no accident, with thousands of refs", async (_name, script, taken) => {
    writeHook(bare, "pre-receive", script);
    const { status, stdout, stderr } = await app.try("push", "--porcelain", url, ...refspecs());
    expect(status, stderr).toBe(taken === 0 ? 1 : 0);
    expect((await refs()).split("\n").filter(Boolean)).toHaveLength(taken);
    if (taken === 0) expect(stdout.match(/\(pre-receive hook declined\)/g)).toHaveLength(MANY);
  });

  it("of the commands of proc-receive fails that push alone", async () => {
    writeProcReceive(bare, { dies: "at once" });
    const { status, stderr } = await app.try("push", url, "main", "main:refs/for/main");
    expect([status, await refs()]).toEqual([1, "refs/heads/main"]);
    expect(stderr).toContain("error: fail to negotiate version with proc-receive hook");
  });
});

describe("what a hook prints", () => {
  it("is bounded: 100 MB end it", async () => {
    writeHook(
      bare,
      "pre-receive",
      "line=$(head -c 1000 /dev/zero | tr '\\0' x)\nyes $line | head -c 100000000; echo $? > finished",
    );
    const { status, stderr } = await app.try("push", url, "main");
    expect([status, await refs(), existsSync(`${bare.directory}/finished`)]).toEqual([1, "", false]);
    expect(stderr).toMatch(/error: the 'pre-receive' hook was ended: it printed more than 16777216 bytes/);
    expect(stderr.length).toBeLessThan(20_000_000);
  });

  it("is bounded for proc-receive's answer too", async () => {
    writeHook(bare, "proc-receive", "exec yes '0011version=1\\0a'");
    const { status, stderr } = await app.try("push", url, "main:refs/for/main");
    expect([status, await refs()]).toEqual([1, ""]);
    expect(stderr).toContain("(fail to run proc-receive hook)");
  });

  it("does not undo a push when it is too much after the refs have moved", async () => {
    writeHook(bare, "post-receive", "exec yes");
    const { status, stderr } = await app.try("push", strictUrl(), "main");
    expect([status, await refs()]).toEqual([0, "refs/heads/main"]);
    expect(stderr).toMatch(/error: the 'post-receive' hook was ended: it printed more than/);
  });

  it("drives no terminal", async () => {
    writeHook(
      bare,
      "pre-receive",
      String.raw`printf '\033[31mred\033[0m \007bell \302\233up \b\b back\ttab\303\251\n'; printf 'half \303'; sleep 0.05; printf '\251\n\377\n'`,
    );
    const { status, stderr } = await app.try("push", url, "main");
    expect(status).toBe(0);
    expect(stderr).toMatch(/^remote: \?\[31mred\?\[0m \?bell \?up \?\? back\ttab\u00e9 *$/m);
    expect(stderr).toMatch(/^remote: half \u00e9 *$/m);
    // What the client itself adds: nothing, as its output is no terminal here.
    expect(stderr).not.toMatch(/[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]/);
  });
});

describe("a file in hooks/", () => {
  it("that is not executable is told of once, however many refs", async () => {
    writeHook(bare, "update", "exit 1", 0o644);
    const { status, stderr } = await app.try("push", url, "main", "main:b", "main:c");
    expect([status, (await refs()).split("\n")]).toEqual([
      0,
      ["refs/heads/b", "refs/heads/c", "refs/heads/main"],
    ]);
    expect(stderr.match(/the 'update' hook was ignored because it is not executable/g)).toHaveLength(1);
  });

  it("that is not executable is no proc-receive", async () => {
    writeHook(bare, "proc-receive", "exit 0", 0o644);
    const { stderr } = await app.try("push", url, "main:refs/for/main");
    expect(stderr).toContain("the 'proc-receive' hook was ignored");
    expect(stderr).toContain("error: cannot find hook 'proc-receive'");
    expect(stderr).toContain("(fail to run proc-receive hook)");
  });

  it("without an interpreter's line is taken for a shell script, as by git", async () => {
    writeHook(bare, "pre-receive", "echo from the shell", 0o755, "");
    const { status, stderr } = await app.try("push", url, "main");
    expect(status, stderr).toBe(0);
    expect(stderr).toMatch(/^remote: from the shell *$/m);
  });

  it("that is a directory is none", async () => {
    mkdirSync(`${bare.directory}/hooks/pre-receive`, { recursive: true });
    expect(await app.try("push", url, "main")).toMatchObject({ status: 0 });
  });

  it("that cannot take so many arguments fails, and nothing else does", async () => {
    writeHook(bare, "post-update", "exit 0");
    const end = await runHook({
      path: `${bare.directory}/hooks/post-update`,
      args: Array.from({ length: 20_000 }, (_, i) => `${"x".repeat(200)}${i}`),
      directory: bare.directory,
      environment: {},
      input: "",
      print: () => undefined,
      timeoutMs: 10_000,
      killAfterMs: 50,
      outputBytesMax: 1000,
      signal: new AbortController().signal,
    });
    expect(end).toEqual({
      status: undefined,
      ended: expect.stringMatching(/^it could not be started: .*E2BIG/),
    });
  });
});
