/** OpenSSH's agent with several keys: whose they are, and which one signs in. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { createSshClient, type SshClient } from "./support/ssh-client.js";
import { certifySshKey, makeSshKey, type SshKeyFile } from "./support/ssh-keygen.js";
import { type SshTestServer, startSshServer } from "./support/ssh-server.js";

describe("an agent with several keys", () => {
  let workspace: GitClient;
  let server: SshTestServer;
  let socket: string;
  let endAgent: () => Promise<void>;
  let ada: SshKeyFile;
  let bob: SshKeyFile;
  let carol: SshKeyFile;
  const asked: string[] = [];

  beforeAll(async () => {
    workspace = createWorkspace();
    socket = join(workspace.directory, "agent");
    const agent = spawn("ssh-agent", ["-D", "-a", socket], { stdio: ["ignore", "pipe", "inherit"] });
    const ended = once(agent, "close");
    endAgent = async () => {
      agent.kill("SIGTERM");
      await ended;
    };
    // It prints where it listens once it does.
    await once(agent.stdout, "data");
    const authority = makeSshKey(workspace.directory, "authority");
    const strangers = [1, 2, 3].map((n) => makeSshKey(workspace.directory, `stranger-${n}`));
    ada = makeSshKey(workspace.directory, "ada", "ecdsa:256");
    bob = makeSshKey(workspace.directory, "bob", "rsa:2048");
    carol = makeSshKey(workspace.directory, "carol");
    certifySshKey(authority, carol, ["-n", "carol"]);
    for (const { path } of [...strangers, ada, bob, carol]) {
      const env = { PATH: process.env["PATH"], SSH_AUTH_SOCK: socket };
      expect(spawnSync("ssh-add", ["-q", path], { env }).status).toBe(0);
    }
    const users = new Map([
      [ada.blob.toString("base64"), "ada"],
      [bob.blob.toString("base64"), "bob"],
    ]);
    server = await startSshServer({
      sshServer: { userAuthoritiesFile: `${authority.path}.pub` },
      authenticate: (credentials) => {
        if (credentials.kind !== "ssh-key") return undefined;
        const user = users.get(credentials.blob.toString("base64"));
        asked.push(user ?? "stranger");
        return user === undefined ? undefined : { user };
      },
    });
  });
  afterAll(async () => {
    await server.close();
    await endAgent();
    removeDirectory(workspace);
  });

  const clientOf = (...options: readonly string[]): SshClient =>
    createSshClient({
      directory: workspace.directory,
      port: server.ssh.port,
      options: [`IdentityAgent=${socket}`, ...options],
    });

  it("lets in by the first that is known, and pushes as its user", async () => {
    const client = clientOf("IdentitiesOnly=no");
    expect((await client.ssh(["git@127.0.0.1"])).stderr).toContain("hello ada");
    expect(asked).toEqual(["stranger", "stranger", "stranger", "ada"]);
    await workspace.run("init", "-q", "work");
    const work = workspace.in("work");
    await work.run("commit", "-q", "--allow-empty", "-m", "first");
    const url = `ssh://git@127.0.0.1:${server.ssh.port}/app.git`;
    const env = { ...client.environment, SSH_AUTH_SOCK: socket };
    expect(await work.tryWith({ env }, "push", "-q", url, "main")).toMatchObject({ status: 0 });
  });

  it("lets in by the one that is chosen, also for its certificate", async () => {
    const chosen = (path: string, user = "git", ...options: string[]): Promise<{ readonly stderr: string }> =>
      clientOf(`IdentityFile=${path}.pub`, ...options).ssh([`${user}@127.0.0.1`]);
    const certificate = `CertificateFile=${carol.path}-cert.pub`;
    expect((await chosen(bob.path)).stderr).toContain("hello bob");
    expect((await chosen(carol.path, "carol", certificate)).stderr).toContain("hello carol");
    expect((await chosen(carol.path, "ada", certificate)).stderr).toContain("Permission denied (publickey)");
  });
});
