/** Who may sign in over SSH: keys, certificates, and those who only pretend, with OpenSSH's client. */
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import ssh2 from "ssh2";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Credentials } from "../src/access/credentials.js";
import type { GitServerOptions } from "../src/server/git-server-options.js";
import type { ServiceLogEntry } from "../src/transport/service-host.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { createSshClient, type SshClient } from "./support/ssh-client.js";
import { certifySshKey, makeSshKey, type SshKeyFile } from "./support/ssh-keygen.js";
import { type SshTestServer, startSshServer } from "./support/ssh-server.js";

describe("signing in over SSH", () => {
  let workspace: GitClient;
  let ada: SshKeyFile;
  let others: readonly SshKeyFile[];
  const servers: SshTestServer[] = [];

  beforeAll(() => {
    workspace = createWorkspace();
    ada = makeSshKey(workspace.directory, "ada");
    others = [1, 2, 3, 4].map((number) => makeSshKey(workspace.directory, `other-${number}`, "ecdsa:256"));
  });
  afterAll(async () => {
    for (const server of servers) await server.close();
    removeDirectory(workspace);
  });

  async function serve(options: Partial<GitServerOptions>): Promise<SshTestServer> {
    const server = await startSshServer(options);
    servers.push(server);
    return server;
  }

  const clientOf = (server: SshTestServer, keys: readonly SshKeyFile[], ...options: string[]): SshClient =>
    createSshClient({
      directory: workspace.directory,
      port: server.ssh.port,
      keys: keys.map(({ path }) => path),
      options: ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", ...options],
    });
  const shell = (client: SshClient, user = "git"): ReturnType<SshClient["ssh"]> =>
    client.ssh([`${user}@127.0.0.1`]);
  const known =
    (asked: Credentials[] = []): NonNullable<GitServerOptions["authenticate"]> =>
    (credentials) => {
      asked.push(credentials);
      return credentials.kind === "ssh-key" && credentials.line === ada.line.split(" ").slice(0, 2).join(" ")
        ? { user: "ada", method: "ssh-key", credentialId: credentials.fingerprint }
        : undefined;
    };

  it("asks the callback with all that identifies a key, and pushes as its user", async () => {
    const asked: Credentials[] = [];
    const seen: unknown[] = [];
    const server = await serve({
      authenticate: known(asked),
      handlers: { preReceive: (push) => void seen.push([push.identity.user, push.transport]) },
    });
    const client = clientOf(server, [ada]);
    await workspace.run("init", "-q", "keys");
    await workspace.in("keys").run("commit", "-q", "--allow-empty", "-m", "first");
    const url = `ssh://git@127.0.0.1:${server.ssh.port}/app.git`;
    const pushed = await workspace.in("keys").tryWith({ env: client.environment }, "push", url, "main");
    expect(pushed).toMatchObject({ status: 0 });
    expect(seen).toEqual([["ada", "ssh"]]);
    expect(asked).toHaveLength(1);
    expect(asked[0]).toMatchObject({
      kind: "ssh-key",
      user: "git",
      algorithm: "ssh-ed25519",
      fingerprint: `SHA256:${createHash("sha256").update(ada.blob).digest("base64").replace(/=+$/, "")}`,
      md5: createHash("md5").update(ada.blob).digest("hex"),
    });
    expect(asked[0]?.kind === "ssh-key" && asked[0].blob.equals(ada.blob)).toBe(true);
    expect((await shell(client)).stderr).toContain("hello ada, you are signed in");
    // The same server asks for a password over HTTP.
    expect((await fetch(`${server.httpUrl}/app.git/info/refs?service=git-upload-pack`)).status).toBe(401);
  });

  it.each(["ed25519", "ecdsa:256", "ecdsa:384", "ecdsa:521", "rsa:2048"])("takes %s keys", async (type) => {
    const key = makeSshKey(workspace.directory, `of-${type.replace(":", "-")}`, type);
    const server = await serve({
      authenticate: (credentials) =>
        credentials.kind === "ssh-key" && credentials.blob.equals(key.blob) ? { user: "eve" } : undefined,
    });
    expect((await shell(clientOf(server, [key]))).stderr).toContain("hello eve");
    if (type !== "rsa:2048") return;
    expect((await shell(clientOf(server, [key], "PubkeyAcceptedAlgorithms=rsa-sha2-256"))).stderr).toContain(
      "hello eve",
    );
    const sha1 = await shell(clientOf(server, [key], "PubkeyAcceptedAlgorithms=ssh-rsa"));
    expect(sha1.stderr).toContain("Permission denied (publickey)");
  });

  it("tries an agent's keys until one is known", async () => {
    const asked: Credentials[] = [];
    const server = await serve({ authenticate: known(asked) });
    expect((await shell(clientOf(server, [...others, ada]))).stderr).toContain("hello ada");
    expect(asked).toHaveLength(5);
  });

  it("refuses unknown keys, no keys and passwords, and only so many of them", async () => {
    const asked: Credentials[] = [];
    const server = await serve({ authenticate: known(asked), limits: { sshAttemptsMax: 3 } });
    for (const keys of [[], others.slice(0, 2)]) {
      const { status, stderr } = await shell(clientOf(server, keys));
      expect(stderr).toContain("Permission denied (publickey)");
      expect(status).toBe(255);
    }
    asked.length = 0;
    expect((await shell(clientOf(server, [...others, ada]))).stderr).not.toContain("hello");
    expect(asked).toHaveLength(3);
    expect(server.said.join("\n")).toContain("too many failed attempts to sign in");
  });

  it("says the same of every key that is only shown, and asks nobody", async () => {
    const asked: Credentials[] = [];
    const server = await serve({ authenticate: known(asked) });
    for (const key of [ada, others[0] as SshKeyFile]) {
      expect(await probe(server, key)).toBe("would do");
    }
    expect(asked).toEqual([]);
  });

  it("does not take a signature that another key made", async () => {
    const asked: Credentials[] = [];
    const server = await serve({ authenticate: known(asked) });
    const stolen = ssh2.utils.parseKey(ada.line);
    const own = ssh2.utils.generateKeyPairSync("ed25519");
    if (stolen instanceof Error) throw stolen;
    const mine = ssh2.utils.parseKey(own.private);
    if (mine instanceof Error) throw mine;
    const forged = Object.create(stolen, {
      sign: { value: mine.sign.bind(mine) },
      isPrivateKey: { value: () => true },
      getPrivatePEM: { value: mine.getPrivatePEM.bind(mine) },
    }) as typeof stolen;
    expect(await connect(server, forged)).toBe("refused");
    expect(asked).toEqual([]);
    expect(server.said.join("\n")).toContain("the signature was not made by the key that was shown");
  });

  it("tells the operator which key was refused, under which name, on one line", async () => {
    const entries: ServiceLogEntry[] = [];
    const server = await serve({ authenticate: known(), log: (entry) => void entries.push(entry) });
    const [stranger] = others;
    await shell(clientOf(server, [stranger as SshKeyFile]), "somebody");
    const refused = entries.find(({ message }) => message.startsWith("an SSH sign-in was refused"));
    const hash = createHash("sha256")
      .update(stranger?.blob ?? "")
      .digest("base64")
      .replace(/=+$/, "");
    expect(refused?.fields).toEqual({ address: "127.0.0.1", login: "somebody", key: `SHA256:${hash}` });
  });

  it("lets nobody in when the callback fails", async () => {
    const server = await serve({
      authenticate: () => {
        throw new Error("database away");
      },
    });
    expect((await shell(clientOf(server, [ada]))).stderr).toContain("Permission denied");
    expect(server.said.join("\n")).toContain("database away");
  });

  describe("with certificates", () => {
    const principals = ["-n", "ada,git"];
    let authority: SshKeyFile;
    let server: SshTestServer;
    let revokedKeysFile: string;
    let count = 0;

    beforeAll(async () => {
      authority = makeSshKey(workspace.directory, "authority");
      const userAuthoritiesFile = join(workspace.directory, "authorities");
      revokedKeysFile = join(workspace.directory, "revoked");
      writeFileSync(userAuthoritiesFile, `# ours\n${authority.line}\n`);
      writeFileSync(revokedKeysFile, "serial: 13\n");
      server = await serve({ sshServer: { userAuthoritiesFile, revokedKeysFile } });
    });

    const certified = (options: readonly string[], type = "ed25519", by = authority): SshKeyFile => {
      const key = makeSshKey(workspace.directory, `certified-${++count}`, type);
      certifySshKey(by, key, options);
      return key;
    };

    it.each(["ed25519", "ecdsa:384", "rsa:2048"])(
      "signs in with a certified %s key as its principal",
      async (type) => {
        const client = clientOf(server, [certified(principals, type)]);
        expect((await shell(client, "ada")).stderr).toContain("hello ada, you are signed in");
        expect((await shell(client, "git")).stderr).toContain("hello git, you are signed in");
      },
    );

    it("refuses other principals, other times, other authorities and what is revoked", async () => {
      const refused = async (key: SshKeyFile, user = "ada"): Promise<string> => {
        const before = server.said.length;
        const { stderr } = await shell(clientOf(server, [key]), user);
        expect(stderr).toContain("Permission denied (publickey)");
        return server.said.slice(before).join("\n");
      };
      expect(await refused(certified(principals), "eve")).toContain("none of the principals");
      expect(await refused(certified([...principals, "-V", "-2h:-1h"]))).toContain("it has expired");
      expect(await refused(certified([...principals, "-V", "+1h:+2h"]))).toContain("not valid yet");
      expect(await refused(certified([...principals, "-z", "13"]))).toContain(
        "its serial number 13 is revoked",
      );
      expect(await refused(certified([...principals, "-O", "source-address=192.0.2.1/32"]))).toContain(
        "address",
      );
      const stranger = makeSshKey(workspace.directory, "stranger");
      expect(await refused(certified(principals, "ed25519", stranger))).toContain("no trusted authority");
      const good = certified(principals);
      expect((await shell(clientOf(server, [good]), "ada")).stderr).toContain("hello ada");
      writeFileSync(revokedKeysFile, `${good.line}\n`);
      expect(await refused(good)).toContain("its key is revoked");
      writeFileSync(revokedKeysFile, "nonsense\n");
      expect(await refused(certified(principals))).toContain("line 1 of the list of revoked SSH keys");
      writeFileSync(revokedKeysFile, "");
    });

    it("lets everyone come by one name where principals says so, and tells whose certificate it is", async () => {
      const seen: unknown[] = [];
      const shared = await serve({
        sshServer: {
          userAuthoritiesFile: join(workspace.directory, "authorities"),
          principals: (user) => (user === "git" ? ["ada", "bob", "a b"] : []),
        },
        authenticators: [
          {
            name: "own",
            authenticate: ({ credentials }) =>
              typeof credentials === "object" &&
              credentials.kind === "ssh-certificate" &&
              credentials.principal === "a b"
                ? { identity: { user: "ab", method: "own" } }
                : undefined,
          },
        ],
        handlers: { preReceive: (push) => void seen.push(push.identity) },
      });
      const bob = certified(["-n", "bob", "-z", "42"]);
      expect((await shell(clientOf(shared, [bob]), "git")).stderr).toContain("hello bob, you are signed in");
      // The certificate names him, but nobody may come by this name.
      expect((await shell(clientOf(shared, [bob]), "bob")).stderr).toContain("Permission denied");
      expect((await shell(clientOf(shared, [certified(["-n", "eve"])]), "git")).stderr).toContain(
        "Permission denied",
      );
      // The application's own is asked first.
      expect((await shell(clientOf(shared, [certified(["-n", "a b"])]), "git")).stderr).toContain("hello ab");
      await workspace.run("init", "-q", "certified");
      await workspace.in("certified").run("commit", "-q", "--allow-empty", "-m", "first");
      const url = `ssh://git@127.0.0.1:${shared.ssh.port}/app.git`;
      const env = clientOf(shared, [bob]).environment;
      expect(await workspace.in("certified").tryWith({ env }, "push", url, "main")).toMatchObject({
        status: 0,
      });
      expect(seen).toEqual([
        {
          user: "bob",
          method: "ssh-certificate",
          credentialId: expect.stringMatching(/^SHA256:/),
          attributes: { keyId: "test-id", serial: "42" },
        },
      ]);
    });

    it("runs the command that a certificate forces", async () => {
      const client = clientOf(server, [
        certified([...principals, "-O", "force-command=git-upload-pack 'only'"]),
      ]);
      for (const command of [["git-receive-pack 'app'"], []]) {
        expect((await client.ssh(["ada@127.0.0.1", ...command])).stderr).toContain(
          "repository 'only' does not exist",
        );
      }
    });

    it("takes no certificates where no authority is trusted", async () => {
      const plain = await serve({ authenticate: () => undefined });
      const asked = await shell(clientOf(plain, [certified(principals)]), "ada");
      expect(asked.stderr).toContain("Permission denied (publickey)");
      expect(plain.said.join("\n")).toContain("SSH certificates are not taken here");
    });
  });

  /** Shows a key and never signs. */
  function probe(server: SshTestServer, key: SshKeyFile): Promise<"would do" | "refused"> {
    return new Promise((resolve) => {
      class OnlyShows extends ssh2.BaseAgent<string> {
        override getIdentities(give: (error: undefined, keys: string[]) => void): void {
          give(undefined, [key.line]);
        }
        override sign(...args: unknown[]): void {
          resolve("would do");
          const give = args.find((arg) => typeof arg === "function") as (error: Error) => void;
          give(new Error("it never signs"));
        }
      }
      const client = new ssh2.Client();
      client.on("error", () => resolve("refused"));
      client.connect({ host: "127.0.0.1", port: server.ssh.port, username: "git", agent: new OnlyShows() });
    });
  }

  function connect(server: SshTestServer, privateKey: unknown): Promise<"let in" | "refused"> {
    return new Promise((resolve) => {
      const client = new ssh2.Client();
      client.on("ready", () => {
        client.end();
        resolve("let in");
      });
      client.on("error", () => resolve("refused"));
      client.connect({
        host: "127.0.0.1",
        port: server.ssh.port,
        username: "git",
        authHandler: [{ type: "publickey", username: "git", key: privateKey as string }] as never,
      });
    });
  }
});
