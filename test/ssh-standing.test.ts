/** SSH connections that stand while what was signed in with changes: each command is asked about anew. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import ssh2 from "ssh2";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { createAccessStore } from "../src/database/access-store.js";
import { openDatabase, parseDatabaseLocation } from "../src/database/open-database.js";
import type { GitServerOptions } from "../src/server/git-server-options.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { settled } from "./support/settled.js";
import { createSshClient } from "./support/ssh-client.js";
import { certifySshKey, makeSshKey, type SshKeyFile, sshKeygen } from "./support/ssh-keygen.js";
import { openSshMaster, type SshMaster } from "./support/ssh-master.js";
import { type SshTestServer, startSshServer } from "./support/ssh-server.js";

let workspace: GitClient;
let server: SshTestServer;
let made = 0;
const masters: SshMaster[] = [];

beforeAll(() => {
  workspace = createWorkspace();
});
afterEach(async () => {
  for (const master of masters.splice(0)) await master.end();
  await server.close();
});
afterAll(() => removeDirectory(workspace));

async function stand(user: string, keys: readonly SshKeyFile[]): Promise<SshMaster> {
  const client = createSshClient({
    directory: workspace.directory,
    port: server.ssh.port,
    keys: keys.map(({ path }) => path),
    options: ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null"],
  });
  const socket = join(workspace.directory, `m${++made}`);
  const master = await openSshMaster(client, { host: `${user}@127.0.0.1`, port: server.ssh.port, socket });
  masters.push(master);
  return master;
}
const serve = async (options: Partial<GitServerOptions>): Promise<void> => {
  server = await startSshServer(options);
};

describe("a connection that stands", () => {
  it("without a user is refused from the first user on", async () => {
    const location = `sqlite:${join(workspace.directory, "access.sqlite")}`;
    const database = await openDatabase(parseDatabaseLocation(location));
    try {
      await serve({ database: location });
      const anonymous = await stand("git", []);
      expect((await anonymous.ssh()).stderr).toContain("nobody needs to sign in here");
      expect((await anonymous.ssh("git-upload-pack 'app'")).stderr).toContain("'app' does not exist");
      await createAccessStore(database).addUser({ name: "ada" });
      for (const command of ["git-upload-pack 'app'", "git-receive-pack 'app'", "git-upload-archive 'app'"]) {
        const { status, stdout, stderr } = await anonymous.ssh(command);
        expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
        expect(stderr).not.toContain("does not exist");
      }
      // Over HTTP at the same moment.
      const discovery = `${server.httpUrl}/app.git/info/refs?service=git-upload-pack`;
      expect((await fetch(discovery)).status).toBe(401);
    } finally {
      await database.close();
    }
  });

  it("by a certificate ends with it: with its revocation, its authority, its time", async () => {
    const authority = makeSshKey(workspace.directory, "authority");
    const userAuthoritiesFile = join(workspace.directory, "authorities");
    const revokedKeysFile = join(workspace.directory, "revoked");
    writeFileSync(userAuthoritiesFile, `${authority.line}\n`);
    writeFileSync(revokedKeysFile, "");
    await serve({ sshServer: { userAuthoritiesFile, revokedKeysFile } });
    const key = makeSshKey(workspace.directory, "certified");
    certifySshKey(authority, key, ["-n", "ada", "-z", "7"]);
    const ada = await stand("ada", [key]);
    expect((await ada.ssh()).stderr).toContain("hello ada");
    writeFileSync(revokedKeysFile, "serial: 7\n");
    expect(await ada.ssh("git-upload-pack 'app'")).toMatchObject({
      status: 1,
      stdout: "",
      stderr: expect.stringContaining("its serial number 7 is revoked"),
    });
    expect((await ada.ssh()).stderr).not.toContain("hello");
    // The same in the form that OpenSSH keeps such lists in.
    const text = join(workspace.directory, "specification");
    writeFileSync(text, "id: test-id\n");
    sshKeygen(["-k", "-q", "-f", revokedKeysFile, "-s", `${authority.path}.pub`, text]);
    expect((await ada.ssh()).stderr).toContain("its key id is revoked");
    writeFileSync(revokedKeysFile, "serial: 8\n");
    expect((await ada.ssh()).stderr).toContain("hello ada");
    writeFileSync(userAuthoritiesFile, "");
    expect((await ada.ssh()).stderr).toContain("no trusted authority signed it");
    writeFileSync(userAuthoritiesFile, "nonsense\n");
    const broken = await ada.ssh("git-upload-pack 'app'");
    expect(broken.status).toBe(1);
    expect(broken.stderr).not.toContain("does not exist");
  });

  it("by a key ends when the key is revoked", async () => {
    const revokedKeysFile = join(workspace.directory, "revoked-keys");
    writeFileSync(revokedKeysFile, "");
    const key = makeSshKey(workspace.directory, "plain");
    await serve({ sshServer: { revokedKeysFile }, authenticate: () => ({ user: "ada" }) });
    const ada = await stand("git", [key]);
    expect((await ada.ssh()).stderr).toContain("hello ada");
    writeFileSync(revokedKeysFile, `${key.line}\n`);
    expect((await ada.ssh("git-upload-pack 'app'")).stderr).toContain("the key is revoked");
  });
});

describe("a client that says nothing", () => {
  it("is asked whether it is there, and given up when it does not answer", async () => {
    await serve({ limits: { sshKeepAliveMs: 30, idleTimeoutMs: Infinity }, autoCreate: "read" });
    const client = createSshClient({ directory: workspace.directory, port: server.ssh.port });
    const args = [
      ...client.arguments,
      "-p",
      String(server.ssh.port),
      "git@127.0.0.1",
      "git-upload-pack 'app'",
    ];
    const child = spawn("ssh", args);
    const closed = once(child, "close");
    await once(child.stdout, "data");
    expect(server.server.active).toBe(1);
    child.kill("SIGSTOP");
    await settled(server.server);
    child.kill("SIGCONT");
    child.stdin.end();
    expect((await closed)[0]).not.toBe(0);
  });

  it("stays as long as it answers", async () => {
    await serve({ limits: { sshKeepAliveMs: 10, idleTimeoutMs: Infinity } });
    const client = new ssh2.Client();
    let isClosed = false;
    client.once("close", () => (isClosed = true));
    client.connect({ host: "127.0.0.1", port: server.ssh.port, username: "git" });
    await once(client, "ready");
    const { _protocol: protocol } = client as unknown as {
      readonly _protocol: { readonly _handlers: Record<string, (...args: unknown[]) => void> };
    };
    const answer = protocol._handlers["GLOBAL_REQUEST"];
    // More questions than may stay without an answer.
    await new Promise<void>((resolve) => {
      let asked = 0;
      protocol._handlers["GLOBAL_REQUEST"] = (...args) => {
        answer?.(...args);
        if (++asked === 12) resolve();
      };
    });
    expect(isClosed).toBe(false);
    client.end();
    await once(client, "close");
  });
});
