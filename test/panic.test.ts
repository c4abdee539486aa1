/** `gitwharf panic`: what it refuses, with which words, and that nothing has to be restarted for it. */
import { execFile } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, inject, it } from "vitest";
import { switchPanicOff, switchPanicOn } from "../src/access/panic-switch.js";
import { createGitServer, type GitServer, type Listening } from "../src/server/git-server.js";
import type { GitServerOptions } from "../src/server/git-server-options.js";
import { createWorkspace, type GitClient, type GitResult, removeDirectory } from "./support/git-client.js";
import { send } from "./support/raw-http.js";
import { pushOfBlob, RECEIVE_PACK_TYPE } from "./support/raw-push.js";
import { createSshClient } from "./support/ssh-client.js";

const CLI = fileURLToPath(new URL("../src/cli/gitwharf.js", import.meta.url));
const WORDS = "we restore from a backup";

let workspace: GitClient;
let app: GitClient;
let server: GitServer;
let listening: Listening;
let repositories: string;
let file: string;

beforeEach(async () => {
  workspace = createWorkspace();
  await workspace.run("init", "-q", "app");
  app = workspace.in("app");
  await app.run("commit", "-q", "--allow-empty", "-m", "one");
  repositories = join(workspace.directory, "repositories");
  file = join(repositories, ".gitwharf", "panic.json");
  await serve();
  await app.run("push", "-q", `${listening.http.url}/app.git`, "main");
  await app.run("commit", "-q", "--allow-empty", "-m", "two");
});
afterEach(async () => {
  await server.close({ graceMs: 0 });
  removeDirectory(workspace);
});

async function serve(options: Partial<GitServerOptions> = {}): Promise<void> {
  server = createGitServer({
    repositories,
    autoCreate: "push",
    durability: "none",
    sshServer: { hostKeyDirectory: inject("hostKeyDirectory") },
    log: () => undefined,
    gitDaemon: { exportAll: true, receivePack: true },
    ...options,
  });
  listening = await server.listen({ http: 0, ssh: 0, git: 0 });
}

async function panic(...args: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, [CLI, "panic", ...args, "-d", repositories]);
  return stdout.trim();
}

/** Asks until it is so: the switch is looked at a few times a second. */
async function until(ask: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 200; i++) if (await ask()) return;
  throw new Error("it did not come to that");
}

function isOpenFor(service: string): Promise<boolean> {
  const url = `${listening.http.url}/app.git/info/refs?service=git-${service}`;
  return send(url).then(({ status }) => status === 200);
}

/** @returns what git says over HTTP, SSH and git:// */
async function everyWay(...command: readonly ("push" | "ls-remote")[]): Promise<readonly GitResult[]> {
  const { http, ssh, git } = listening;
  const port = ssh?.port ?? 0;
  const { environment: env } = createSshClient({ directory: workspace.directory, port });
  const urls = [`${http.url}/app.git`, `ssh://git@127.0.0.1:${port}/app.git`, `${git?.url}/app.git`];
  return Promise.all(
    urls.map((url) =>
      app.tryWith({ env }, ...command, "-q", url, ...(command[0] === "push" ? ["HEAD:main"] : [])),
    ),
  );
}

describe("the panic switch", () => {
  it("refuses pushes with its message over HTTP, SSH and git://, lets reads be, and is gone at once", async () => {
    expect(await panic("on", "--message", WORDS)).toBe(`on: pushes are refused: ${WORDS}`);
    await until(async () => !(await isOpenFor("receive-pack")));
    const [overHttp, overSsh, overGit] = await everyWay("push");
    expect(overHttp?.stderr).toContain(`remote: ${WORDS}`);
    expect(overHttp?.stderr).toContain("503");
    expect(overSsh?.stderr).toContain(`gitwharf: ${WORDS}`);
    expect(overGit?.stderr).toContain(`remote error: ${WORDS}`);
    expect((await everyWay("ls-remote")).map(({ status }) => status)).toEqual([0, 0, 0]);
    expect(await panic("off")).toBe("off");
    await until(() => isOpenFor("receive-pack"));
    await app.run("push", "-q", `${listening.http.url}/app.git`, "main");
  });

  it("refuses reads as well when it is told so", async () => {
    await panic("on", "--reads", "--message", WORDS);
    await until(async () => !(await isOpenFor("upload-pack")));
    for (const { status, stderr } of [...(await everyWay("ls-remote")), ...(await everyWay("push"))]) {
      expect(stderr).toContain(WORDS);
      expect(status).toBe(128);
    }
    const { ssh, git } = listening;
    const { environment: env } = createSshClient({ directory: workspace.directory, port: ssh?.port ?? 0 });
    for (const url of [`ssh://git@127.0.0.1:${ssh?.port}/app.git`, `${git?.url}/app.git`])
      expect((await app.tryWith({ env }, "archive", `--remote=${url}`, "main")).stderr).toContain(WORDS);
    const dumb = await send(`${listening.http.url}/app.git/HEAD`);
    expect(dumb.status).toBe(503);
  });

  it("refuses raw requests that skip the discovery, before anything is made", async () => {
    await switchPanicOn(file, { reads: false, message: WORDS });
    await until(async () => !(await isOpenFor("receive-pack")));
    const answer = await send(`${listening.http.url}/other.git/git-receive-pack`, {
      headers: { "Content-Type": RECEIVE_PACK_TYPE },
      body: pushOfBlob("raw", "raw"),
    });
    expect(answer).toMatchObject({ status: 503 });
    expect(answer.body.toString()).toBe(`${WORDS}\n`);
    expect(answer.headers["retry-after"]).toBeDefined();
    expect(await server.metrics()).toContain('service="receive-pack",outcome="busy"');
    expect(await server.store.open("other")).toBeUndefined();
  });

  it("stops a push that is under way before its objects are published", async () => {
    await server.close({ graceMs: 0 });
    let calls = 0;
    await serve({
      handlers: {
        async preReceive() {
          calls++;
          await switchPanicOn(file, { reads: false, message: WORDS });
          await until(async () => !(await isOpenFor("receive-pack")));
          return undefined;
        },
      },
    });
    const refused = await app.try("push", `${listening.http.url}/app.git`, "main");
    expect(refused.stderr).toContain(`[remote rejected] main -> main (${WORDS})`);
    expect(calls).toBe(1);
    await switchPanicOff(file);
    const refs = await workspace.run("ls-remote", `${listening.http.url}/app.git`, "main");
    expect(refs).toContain(await app.run("rev-parse", "HEAD~"));
  });

  it("holds behind a stock sshd, in one repository over standard input and output only where it is named", async () => {
    const run = (args: readonly string[], command?: string): Promise<string> => {
      const env = { ...process.env, SSH_ORIGINAL_COMMAND: command };
      const running = promisify(execFile)(process.execPath, [CLI, ...args], { env });
      running.child.stdin?.end();
      return running.then(
        () => "served",
        ({ stderr }: { readonly stderr: string }) => stderr,
      );
    };
    const sshCommand = (command: string): Promise<string> =>
      run(["ssh-command", "ada", "-d", repositories], command);
    const repository = join(repositories, "app.git");
    await panic("on", "--message", WORDS);
    expect(await sshCommand("git-receive-pack 'app.git'")).toBe(`gitwharf: ${WORDS}\n`);
    expect(await sshCommand("git-upload-pack 'app.git'")).not.toContain(WORDS);
    const named = ["--panic-file", file, "--http-backend-info-refs", repository];
    expect(await run(["receive-pack", ...named])).toBe(`gitwharf: ${WORDS}\n`);
    expect(await run(["upload-pack", ...named])).toBe("served");
    expect(await run(["receive-pack", "--http-backend-info-refs", repository])).toBe("served");
    await panic("on", "--reads", "--message", WORDS);
    expect(await sshCommand("git-upload-pack 'app.git'")).toBe(`gitwharf: ${WORDS}\n`);
    expect(await run(["upload-pack", ...named])).toBe(`gitwharf: ${WORDS}\n`);
    expect(await run(["upload-archive", "--panic-file", file, repository])).toBe(`gitwharf: ${WORDS}\n`);
  });

  it("survives a restart", async () => {
    await panic("on");
    await server.close({ graceMs: 0 });
    await serve();
    const refused = await app.try("push", "-q", `${listening.http.url}/app.git`, "main");
    expect(refused.stderr).toContain("remote: this server takes no pushes at the moment; try again later");
  });

  it.each(["", "nonsense", "null", "[]", '{"reads":"no"}', "{}"])(
    "refuses everything when its file says %j",
    async (text) => {
      mkdirSync(join(repositories, ".gitwharf"), { recursive: true });
      writeFileSync(file, text);
      await until(async () => !(await isOpenFor("upload-pack")));
      expect(await isOpenFor("receive-pack")).toBe(false);
    },
  );

  it("says what it is, and lets no message drive a terminal", async () => {
    expect(await panic("status")).toBe("off");
    expect(await panic("on", "--reads", "--message", "\u001b[31mred\nalert\u0007")).toBe(
      "on: pushes and reads are refused: [31mred alert",
    );
    expect(JSON.parse(await panic("status", "--json"))).toEqual({
      on: true,
      since: expect.stringMatching(/^\d{4}-/),
      reads: true,
      message: "[31mred alert",
    });
    expect(await panic("off")).toBe("off");
    await expect(panic("off")).rejects.toThrow(/the panic switch was off/);
  });
});
