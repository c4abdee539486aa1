/** A Gitorious application over SSH: our own server, the forced command, and a stock sshd that runs it. */
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, inject, it } from "vitest";
import { createGitServer, type GitServer } from "../src/server/git-server.js";
import { createWorkspace, type GitClient, type GitResult, removeDirectory } from "./support/git-client.js";
import { type GitoriousTestApplication, startGitoriousApplication } from "./support/gitorious-application.js";
import { runGitwharf } from "./support/run-gitwharf.js";
import { createSshClient, type SshClient } from "./support/ssh-client.js";
import { makeSshKey, type SshKeyFile } from "./support/ssh-keygen.js";
import { type Sshd, startSshd } from "./support/sshd.js";

let application: GitoriousTestApplication;
let workspace: GitClient;
let app: GitClient;
let root: string;
let config: string;
let logFile: string;
let key: SshKeyFile;

beforeAll(async () => {
  application = await startGitoriousApplication();
  workspace = createWorkspace();
  root = join(workspace.directory, "repositories");
  for (const name of ["0123", "4567"])
    await workspace.run("init", "-q", "--bare", `repositories/${name}.git`);
  await workspace.run("init", "-q", "app");
  app = workspace.in("app");
  await app.run("commit", "-q", "--allow-empty", "-m", "one");
  application.repositories
    .set("+team/app.git", {
      fullPath: join(root, "0123.git"),
      pushers: ["ada"],
      more: { custom_pre_receive_path: join(workspace.directory, "custom") },
    })
    .set("secret.git", { fullPath: join(root, "4567.git"), readers: ["eve"], pushers: ["eve"] });
  writeFileSync(
    join(workspace.directory, "custom"),
    "#!/bin/sh\nenv | grep -E '^(GITORIOUS_(PROTO|USER)|REMOTE_USER)'\n",
  );
  chmodSync(join(workspace.directory, "custom"), 0o755);
  config = join(workspace.directory, "config.json");
  logFile = join(workspace.directory, "log.json");
  const gitorious = { url: application.url, retries: 0, timeoutMs: 2000 };
  writeFileSync(config, JSON.stringify({ repositories: root, gitorious }));
  key = makeSshKey(workspace.directory, "ada");
  await gitwharf({}, "user", "add", "ada", "-d", root);
  await gitwharf({}, "key", "add", "ada", `${key.path}.pub`, "-d", root);
}, 60_000);
afterAll(async () => {
  await application.close();
  removeDirectory(workspace);
});
beforeEach(() => {
  application.calls.length = 0;
  application.intercept = () => false;
  application.refusals.clear();
});

const gitwharf = (env: NodeJS.ProcessEnv, ...args: readonly string[]): Promise<GitResult> =>
  runGitwharf(args, { env: { PATH: process.env["PATH"], ...env } });

/** What is asked for, and what is answered on standard error with status 1. */
const REFUSALS: readonly (readonly [string, string | undefined, string])[] = [
  ["a shell", undefined, "Hello ada! There is no shell access here, only Git.\n"],
  ["another program", "id; id", "Invalid command\n"],
  ["a path that is none", "git-upload-pack '../etc'", "Invalid command\n"],
  ["a path that is not known", "git-upload-pack 'no/such.git'", "Invalid repository path\n"],
  ["what he may not read", "git-upload-pack 'secret.git'", "Access denied\n"],
  ["to push what he may not read", "git receive-pack '/secret.git'", "Access denied\n"],
];

describe("gitwharf ssh-command with a Gitorious application", () => {
  const run = (command: string | undefined): Promise<GitResult> =>
    gitwharf(
      {
        SSH_CLIENT: "192.0.2.7 40000 22",
        ...(command === undefined ? {} : { SSH_ORIGINAL_COMMAND: command }),
      },
      "ssh-command",
      "ada",
      "--config",
      config,
      "--log-file",
      logFile,
    );

  it.each(REFUSALS)("refuses %s", async (_what, command, stderr) => {
    expect(await run(command)).toEqual({ status: 1, stdout: "", stderr });
  });

  it("says that something went wrong when the application does not answer", async () => {
    application.intercept = (_call, response) => (response.writeHead(500).end(), true);
    expect(await run("git-upload-pack '+team/app.git'")).toEqual({
      status: 1,
      stdout: "",
      stderr: "An error occurred, please contact support\n",
    });
  });

  it("hands the path on as it came, and logs the session", async () => {
    const { status, stdout } = await run("git-upload-pack '/+team/app.git'");
    // Nobody answers the advertisement.
    expect(status).not.toBe(1);
    expect(stdout).toContain("capabilities^{}");
    expect(application.calls[0]?.parameters).toEqual({ repo_path: "+team/app.git", username: "ada" });
    const lines = readFileSync(logFile, "utf8").trim().split("\n");
    expect(lines.map((line) => JSON.parse(line) as object)).toContainEqual(
      expect.objectContaining({
        address: "192.0.2.7",
        user: "ada",
        repository: "0123",
        service: "upload-pack",
        outcome: expect.any(String) as string,
        milliseconds: expect.any(Number) as number,
      }),
    );
  });
});

describe("our own SSH server with a Gitorious application", () => {
  let server: GitServer;
  let port: number;
  let client: SshClient;

  beforeAll(async () => {
    server = createGitServer({
      repositories: root,
      sshServer: { hostKeyDirectory: inject("hostKeyDirectory") },
      gitorious: { url: application.url, retries: 0, timeoutMs: 2000 },
      log: () => undefined,
    });
    const { ssh } = await server.listen({ http: 0, ssh: 0 });
    port = ssh?.port ?? 0;
    client = createSshClient({ directory: workspace.directory, port, keys: [key.path] });
  });
  afterAll(() => server.close({ graceMs: 0 }));

  it.each(REFUSALS)("refuses %s", async (_what, command, stderr) => {
    const args = command === undefined ? [] : [command];
    expect(await client.ssh(["git@127.0.0.1", ...args])).toMatchObject({ status: 1, stdout: "", stderr });
  });

  it("takes pushes that the application allows, and tells it of them", async () => {
    const url = `ssh://git@127.0.0.1:${port}/+team/app.git`;
    const env = client.environment;
    application.refusals.set("refs/heads/kept", "kept\n");
    const refused = await app.tryWith({ env }, "push", url, "main:kept");
    expect(refused.stderr).toContain("main -> kept (kept)");
    const pushed = await app.tryWith({ env }, "push", url, "main:own");
    expect(pushed.stderr).toContain("remote: GITORIOUS_PROTO=ssh");
    expect(pushed.stderr).toContain("remote: GITORIOUS_USER=ada");
    expect(pushed.stderr).not.toContain("REMOTE_USER");
    const [told] = await application.received("/hooks/post-receive", 1);
    expect(told?.parameters).toMatchObject({
      username: "ada",
      refname: "refs/heads/own",
      repository_id: "1",
    });
    expect((await workspace.tryWith({ env }, "ls-remote", url)).stdout).toContain("refs/heads/own");
  });
});

describe("a stock sshd with a Gitorious application", () => {
  let sshd: Sshd;

  beforeAll(async () => {
    const file = join(workspace.directory, "authorized_keys");
    const { stdout } = await gitwharf(
      {},
      "authorized-keys",
      "ada",
      `${key.path}.pub`,
      "-d",
      root,
      "--config",
      config,
    );
    expect(stdout).toMatch(/^no-port-forwarding,no-X11-forwarding,no-agent-forwarding,no-pty,/);
    writeFileSync(file, stdout, { mode: 0o600 });
    sshd = await startSshd(workspace.directory, [`AuthorizedKeysFile ${file}`, "AcceptEnv GIT_PROTOCOL"]);
  }, 240_000);
  afterAll(() => sshd.end());

  it("takes pushes that the application allows, and tells it of them", async () => {
    const client = createSshClient({ directory: workspace.directory, port: sshd.port, keys: [key.path] });
    const url = `ssh://${sshd.host}:${sshd.port}/+team/app.git`;
    const pushed = await app.tryWith({ env: client.environment }, "push", url, "main:stock");
    expect(pushed.stderr).toContain("remote: GITORIOUS_USER=ada");
    expect(pushed.status).toBe(0);
    const [told] = await application.received("/hooks/post-receive", 1);
    expect(told?.parameters).toMatchObject({ username: "ada", refname: "refs/heads/stock" });
    const denied = await app.tryWith(
      { env: client.environment },
      "ls-remote",
      url.replace("+team/app", "secret"),
    );
    expect(denied.stderr).toContain("Access denied");
  });
});
