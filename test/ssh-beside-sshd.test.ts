/** gitwharf behind a stock OpenSSH server: the recipe of docs/ssh.md. */
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { createSshClient, type SshClient } from "./support/ssh-client.js";
import { makeSshKey, type SshKeyFile } from "./support/ssh-keygen.js";
import { type Sshd, startSshd } from "./support/sshd.js";

const CLI = fileURLToPath(new URL("../src/cli/gitwharf.js", import.meta.url));

describe("beside a stock sshd", { timeout: 60_000 }, () => {
  let workspace: GitClient;
  let ada: SshKeyFile;
  let eve: SshKeyFile;
  let root: string;
  let sshd: Sshd;
  let logFile: string;

  const gitwharf = (...args: string[]): string => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [CLI, ...args], { encoding: "utf8" });
    if (status !== 0) throw new Error(`gitwharf ${args.join(" ")} ended with ${status}: ${stderr}`);
    return stdout;
  };
  const clientOf = (key: SshKeyFile): SshClient =>
    createSshClient({ directory: workspace.directory, port: sshd.port, keys: [key.path] });

  beforeAll(async () => {
    workspace = createWorkspace();
    root = join(workspace.directory, "the repositories");
    logFile = join(workspace.directory, "log.json");
    ada = makeSshKey(workspace.directory, "ada");
    eve = makeSshKey(workspace.directory, "eve");
    gitwharf("user", "add", "ada", "-d", root);
    gitwharf("user", "add", "eve", "-d", root);
    gitwharf("key", "add", "ada", `${ada.path}.pub`, "-d", root);
    gitwharf("key", "add", "eve", `${eve.path}.pub`, "-d", root, "--read-only");
    const lines = gitwharf("authorized-keys", "-d", root, "--log-file", logFile);
    const file = join(workspace.directory, "authorized_keys");
    writeFileSync(file, lines, { mode: 0o600 });
    sshd = await startSshd(workspace.directory, [`AuthorizedKeysFile ${file}`, "AcceptEnv GIT_PROTOCOL"]);
  }, 240_000);
  afterAll(async () => {
    await (sshd as Sshd | undefined)?.end();
    removeDirectory(workspace);
  });

  it.each([0, 2])("pushes and clones with protocol v%i as the key's user", async (version) => {
    const name = `work-${version}`;
    await workspace.run("init", "-q", name);
    const work = workspace.in(name);
    await work.run("commit", "-q", "--allow-empty", "-m", "first");
    const url = `ssh://${sshd.host}:${sshd.port}/team/${name}.git`;
    const protocol = ["-c", `protocol.version=${version}`];
    const env = { ...clientOf(ada).environment, GIT_TRACE_PACKET: "1" };
    const pushed = await work.tryWith({ env }, ...protocol, "push", url, "main");
    expect(pushed.stderr).toContain("[new branch]");
    expect(existsSync(join(root, "team", `${name}.git`))).toBe(true);
    const cloned = await workspace.tryWith({ env }, ...protocol, "clone", url, `${name}-copy`);
    expect(cloned.status).toBe(0);
    expect(cloned.stderr.includes("version 2")).toBe(version === 2);
    const logged = readFileSync(logFile, "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as object);
    expect(logged).toContainEqual(
      expect.objectContaining({
        message: `ssh git-receive-pack '/team/${name}.git' 0`,
        user: "ada",
        address: "127.0.0.1",
      }),
    );
  });

  it("tells what it refuses, with the exit status", async () => {
    const run = (key: SshKeyFile, ...args: string[]): ReturnType<SshClient["ssh"]> =>
      clientOf(key).ssh([sshd.host, ...args]);
    expect(await run(ada)).toMatchObject({
      status: 1,
      stdout: "",
      stderr:
        "gitwharf: hello ada, you are signed in. There is no shell, but: git clone git@HOST:REPOSITORY.git\n",
    });
    expect(await run(ada, "id; id")).toMatchObject({ status: 1, stdout: "" });
    expect(await run(ada, "git-upload-pack 'nothing'")).toMatchObject({
      status: 1,
      stderr: "gitwharf: repository 'nothing' does not exist\n",
    });
    expect((await clientOf(ada).ssh(["-W", "127.0.0.1:1", sshd.host])).status).not.toBe(0);
  });

  it("keeps to what a key is narrowed to, and to keys that are still there", async () => {
    gitwharf("init", "narrow", "-d", root);
    const url = `ssh://${sshd.host}:${sshd.port}/narrow.git`;
    await workspace.run("init", "-q", "narrow-work");
    const work = workspace.in("narrow-work");
    await work.run("commit", "-q", "--allow-empty", "-m", "first");
    const env = clientOf(eve).environment;
    expect(await work.tryWith({ env }, "ls-remote", url)).toMatchObject({ status: 0 });
    const pushed = await work.tryWith({ env }, "push", url, "main");
    expect(pushed.status).not.toBe(0);
    expect(pushed.stderr).toMatch(/gitwharf: /);
    const [key] = JSON.parse(gitwharf("key", "list", "eve", "-d", root, "--json")) as [
      { fingerprint: string },
    ];
    gitwharf("key", "remove", key.fingerprint, "-d", root);
    expect((await work.tryWith({ env }, "ls-remote", url)).stderr).toContain("is not one of 'eve' any more");
  });

  it("finds keys by AuthorizedKeysCommand", async () => {
    const [, base64 = ""] = ada.line.split(" ");
    const one = gitwharf("authorized-keys", "-d", root, "--only", base64);
    expect(one.trim().split("\n")).toHaveLength(1);
    expect(one).toMatch(
      /^no-port-forwarding,no-X11-forwarding,no-agent-forwarding,no-pty,no-user-rc,command="[^"]*ssh-command ada --key /,
    );
    expect(gitwharf("authorized-keys", "-d", root, "--only", "AAAA")).toBe("");
    // sshd runs only what nobody but root can change.
    if (process.getuid?.() !== 0) return;
    const script = "/run/gitwharf-test-authorized-keys";
    mkdirSync("/run", { recursive: true });
    writeFileSync(
      script,
      `#!/bin/sh\nexec '${process.execPath}' '${CLI}' authorized-keys -d '${root}' --only "$1"\n`,
    );
    chmodSync(script, 0o755);
    const own = join(workspace.directory, "with-command");
    mkdirSync(own);
    const other = await startSshd(own, [
      "AuthorizedKeysFile none",
      `AuthorizedKeysCommand ${script} %k`,
      "AuthorizedKeysCommandUser root",
    ]);
    try {
      const client = (key: SshKeyFile): SshClient =>
        createSshClient({ directory: own, port: other.port, keys: [key.path] });
      expect((await client(ada).ssh([other.host])).stderr).toContain("hello ada");
      const stranger = makeSshKey(own, "stranger");
      expect((await client(stranger).ssh([other.host])).stderr).toContain("Permission denied");
    } finally {
      await other.end();
      rmSync(script);
    }
  });

  it("prints lines for keys of a file", () => {
    const line = gitwharf(
      "authorized-keys",
      "ada",
      `${ada.path}.pub`,
      "-d",
      root,
      "--program",
      "gitwharf",
    ).trim();
    expect(line).toBe(
      "no-port-forwarding,no-X11-forwarding,no-agent-forwarding,no-pty,no-user-rc," +
        `command="gitwharf ssh-command ada --directory '${root}'" ${ada.line.split(" ").slice(0, 2).join(" ")}`,
    );
    expect(() => gitwharf("authorized-keys", "a;b", `${ada.path}.pub`)).toThrow(/a user's name is/);
  });
});
