/** Host keys and algorithms of the SSH server as OpenSSH's client sees them: each that is offered, and only those. */
import { join } from "node:path";
import ssh2 from "ssh2";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DEFAULT_SSH_ALGORITHMS } from "../src/transport/ssh/algorithms.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { createSshClient } from "./support/ssh-client.js";
import { sshKeygen } from "./support/ssh-keygen.js";
import { type SshTestServer, startSshServer } from "./support/ssh-server.js";

let workspace: GitClient;
let server: SshTestServer;
const servers: SshTestServer[] = [];

beforeAll(async () => {
  workspace = createWorkspace();
  server = await start();
});
afterAll(async () => {
  for (const one of servers) await one.close();
  removeDirectory(workspace);
});

async function start(algorithms?: object): Promise<SshTestServer> {
  const started = await startSshServer({
    repositories: join(workspace.directory, "repositories"),
    ...(algorithms === undefined ? {} : { sshServer: { algorithms } }),
  });
  servers.push(started);
  return started;
}

/** @param options of ssh_config @returns what ssh says of the connection, and of the greeting */
async function connectWith(options: readonly string[], to = server): Promise<string> {
  const client = createSshClient({
    directory: workspace.directory,
    port: to.ssh.port,
    options: [...options, "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=DEBUG1"],
  });
  return (await client.ssh(["git@127.0.0.1"])).stderr;
}

describe("the SSH server to OpenSSH's client", () => {
  const { keyExchange, hostKey, cipher, mac } = DEFAULT_SSH_ALGORITHMS;

  it("shows the host key that was made for the algorithm, and its fingerprint to whoever starts it", async () => {
    const kinds = { "ssh-ed25519": "ed25519", "ecdsa-sha2-nistp256": "ecdsa", "rsa-sha2-512": "rsa" };
    for (const [algorithm, kind] of Object.entries({ ...kinds, "rsa-sha2-256": "rsa" })) {
      const said = await connectWith([`HostKeyAlgorithms=${algorithm}`]);
      expect(said).toContain(`kex: host key algorithm: ${algorithm}`);
      const file = join(workspace.directory, "repositories/.gitwharf/ssh", `ssh_host_${kind}_key.pub`);
      const fingerprint = sshKeygen(["-l", "-f", file]).split(" ")[1] ?? "";
      expect(fingerprint).toMatch(/^SHA256:/);
      expect(said).toContain(fingerprint);
      expect(server.ssh.hostKeys.map((key) => key.fingerprint)).toContain(fingerprint);
      expect(said).toContain("There is no shell");
    }
    // One key of each kind is made; the others are for keys of an administrator's own.
    expect(hostKey).toEqual(expect.arrayContaining([...Object.keys(kinds), "rsa-sha2-256"]));
  });

  it.each([
    ...keyExchange.map((name) => ["KexAlgorithms", name, `kex: algorithm: ${name}`]),
    ...cipher.map((name) => ["Ciphers", name, `cipher: ${name}`]),
    ...mac.map((name) => ["MACs", name, `MAC: ${name}`]),
  ])("works by %s=%s", async (option, name, expected) => {
    // A cipher that needs a MAC, where it is about MACs.
    const cipherToo = option === "MACs" ? ["Ciphers=aes128-ctr"] : [];
    const said = await connectWith([`${option}=${name}`, ...cipherToo]);
    expect(said).toContain(expected);
    expect(said).toContain("There is no shell");
  });

  it.each([
    ["KexAlgorithms=diffie-hellman-group14-sha1", "no matching key exchange method"],
    ["KexAlgorithms=diffie-hellman-group-exchange-sha256", "no matching key exchange method"],
    ["HostKeyAlgorithms=ssh-rsa", "no matching host key type"],
    ["Ciphers=aes128-cbc", "no matching cipher"],
    ["MACs=hmac-sha1", "no matching MAC"],
  ])("does not work by %s", async (option, why) => {
    const said = await connectWith([option, ...(option.startsWith("MACs") ? ["Ciphers=aes128-ctr"] : [])]);
    expect(said).toContain(why);
    expect(said).not.toContain("There is no shell");
  });

  it("has no compression", async () => {
    expect(await connectWith(["Compression=yes"])).toContain("compression: none");
  });

  it("keeps to the lists that are given in place of its own", async () => {
    const own = await start({ cipher: ["aes256-gcm@openssh.com"], keyExchange: ["ecdh-sha2-nistp384"] });
    const said = await connectWith([], own);
    expect(said).toContain("kex: algorithm: ecdh-sha2-nistp384");
    expect(said).toContain("cipher: aes256-gcm@openssh.com");
    expect(said).toContain("There is no shell");
    expect(await connectWith(["Ciphers=aes128-gcm@openssh.com"], own)).toContain(
      "Their offer: aes256-gcm@openssh.com",
    );
    expect(await connectWith(["KexAlgorithms=curve25519-sha256"], own)).toContain(
      "no matching key exchange method",
    );
  });

  it("shows the host keys that are listed, the best first", async () => {
    const own = await start({ hostKey: ["rsa-sha2-256", "ecdsa-sha2-nistp256"] });
    const anything = "HostKeyAlgorithms=ecdsa-sha2-nistp256,rsa-sha2-512,rsa-sha2-256,ssh-rsa,ssh-ed25519";
    expect(await connectWith([anything], own)).toContain("kex: host key algorithm: ecdsa-sha2-nistp256");
    const none = await connectWith(["HostKeyAlgorithms=ssh-ed25519,rsa-sha2-512"], own);
    expect(none).toContain("Their offer: rsa-sha2-256,ecdsa-sha2-nistp256");
    await expect(start({ hostKey: ["ecdsa-sha2-nistp521"] })).rejects.toThrow(/no host key for any of/);
  });

  it("names what it does not know before it listens", async () => {
    await expect(start({ cipher: ["rot13"] })).rejects.toThrow(/SSH.*rot13/);
  });
});

describe("strict key exchange", () => {
  /** The library's client, which adds its word for strict key exchange to this list by `concat`. */
  async function connectLoosely(cipher: string, mac: string): Promise<string> {
    const client = new ssh2.Client();
    const kex = ["ecdh-sha2-nistp256"];
    kex.concat = () => kex;
    const outcome = new Promise<string>((resolve) => {
      client.once("ready", () => resolve("in"));
      client.once("error", () => resolve("closed"));
      client.once("close", () => resolve("closed"));
    });
    const algorithms = { kex, cipher: [cipher], hmac: [mac] } as unknown as ssh2.Algorithms;
    client.connect({ host: "127.0.0.1", port: server.ssh.port, username: "git", algorithms });
    // It would take the server's word for its own.
    (client as unknown as { readonly _protocol: { _strictMode: boolean } })._protocol._strictMode = false;
    try {
      return await outcome;
    } finally {
      client.destroy();
    }
  }

  it.each([
    ["chacha20-poly1305@openssh.com", "hmac-sha2-256"],
    ["aes128-ctr", "hmac-sha2-256-etm@openssh.com"],
  ])("is needed for %s with %s", async (cipher, mac) => {
    const before = server.said.length;
    expect(await connectLoosely(cipher, mac)).toBe("closed");
    expect(server.said.slice(before).join("\n")).toContain(
      "need strict key exchange, which it does not know",
    );
  });

  it.each([
    ["aes128-gcm@openssh.com", "hmac-sha2-256"],
    ["aes128-ctr", "hmac-sha2-256"],
  ])("is done without for %s with %s, of which nothing can be cut off unseen", async (cipher, mac) => {
    expect(await connectLoosely(cipher, mac)).toBe("in");
  });

  it("is done with OpenSSH's client", async () => {
    expect(await connectWith([])).toContain("resetting send seqnr");
  });
});
