/** Who may come in over HTTP, and as whom: each way to sign in with the real client, and each way to pretend. */
import { generateKeyPairSync } from "node:crypto";
import { Agent, request } from "node:http";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { SignJWT } from "jose";
import { generate } from "selfsigned";
import ssh2 from "ssh2";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createAccessToken } from "../src/access/access-token.js";
import { fingerprintOf } from "../src/access/ssh-public-key.js";
import { hashPassword } from "../src/access/password-hash.js";
import { type AccessStore, createAccessStore } from "../src/database/access-store.js";
import { type Database, openDatabase, parseDatabaseLocation } from "../src/database/open-database.js";
import type { Grant } from "../src/engine/identity.js";
import type { Identity } from "../src/engine/push.js";
import { createGitServer, type GitServer } from "../src/server/git-server.js";
import type { GitServerOptions, ListenOptions } from "../src/server/git-server-options.js";
import { createMemoryRepositoryStore } from "../src/storage/memory/memory-repository-store.js";
import { createSshClient } from "./support/ssh-client.js";
import { makeSshKey, type SshKeyFile } from "./support/ssh-keygen.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { send } from "./support/raw-http.js";
import { pushOfBlob, RECEIVE_PACK_TYPE } from "./support/raw-push.js";

/** Cheap enough for tests; the parameters are in the hash. */
const CHEAP = { logN: 10, r: 8, p: 1 };
const DISCOVERY = "/app.git/info/refs?service=git-upload-pack";

let workspace: GitClient;
let app: GitClient;
let server: GitServer | undefined;
let url: string;
let sshPort: number | undefined;
let database: Database;
let store: AccessStore;
let location: string;
let pushedBy: Identity[];

beforeEach(async () => {
  workspace = createWorkspace();
  await workspace.run("init", "-q", "app");
  app = workspace.in("app");
  await app.run("commit", "-q", "--allow-empty", "-m", "one");
  await app.run("commit", "-q", "--allow-empty", "-m", "two");
  location = `sqlite:${join(workspace.directory, "access.sqlite")}`;
  database = await openDatabase(parseDatabaseLocation(location));
  store = createAccessStore(database);
  await store.addUser({ name: "ada", password: await hashPassword("right", CHEAP) });
  pushedBy = [];
});
afterEach(async () => {
  await server?.close({ graceMs: 0 });
  server = undefined;
  await database.close();
  removeDirectory(workspace);
});

async function serve(
  options: Partial<GitServerOptions> = {},
  listen: Partial<ListenOptions> = {},
): Promise<string> {
  server = createGitServer({
    repositories: createMemoryRepositoryStore(),
    autoCreate: "push",
    database: location,
    log: () => undefined,
    handlers: { preReceive: ({ identity }) => void pushedBy.push(identity) },
    ...options,
  });
  const { http, ssh } = await server.listen({ http: 0, ...listen });
  url = http.url;
  sshPort = ssh?.port;
  return url;
}

async function tokenFor(
  user: string,
  grant?: Grant,
  expiresAt?: number,
): Promise<{ id: string; token: string }> {
  const { id, token, hash } = createAccessToken();
  await store.addToken({
    id,
    user,
    hash,
    label: "",
    expiresAt,
    grant: grant === undefined ? undefined : JSON.stringify(grant),
  });
  return { id, token };
}

const as = (user: string, password: string, repository = "app"): string =>
  `${url.replace("://", `://${user}:${encodeURIComponent(password)}@`)}/${repository}.git`;
const basic = (user: string, password: string): string =>
  `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
const statusOf = async (authorization: string | undefined, path = DISCOVERY): Promise<number> => {
  const headers = authorization === undefined ? {} : { Authorization: authorization };
  return (await send(`${url}${path}`, { headers })).status;
};

describe("access tokens", () => {
  it("sign in as a password, as a user's name, as Bearer; removed, altered and expired ones do not", async () => {
    await serve();
    const { id, token } = await tokenFor("ada");
    await app.run("push", "-q", as("anything", token), "main");
    expect(pushedBy).toEqual([{ user: "ada", method: "token", credentialId: id, grant: {} }]);
    expect(await statusOf(basic(token, ""))).toBe(200);
    expect(await statusOf(`Bearer ${token}`)).toBe(200);
    const header = ["-c", `http.extraHeader=Authorization: Bearer ${token}`];
    await workspace.run(...header, "clone", "-q", `${url}/app.git`, "copy");
    const altered = token.replace(/.$/, (last) => (last === "0" ? "1" : "0"));
    const { token: expired } = await tokenFor("ada", undefined, Date.now() - 1);
    const { token: unknown } = createAccessToken();
    for (const wrong of [altered, expired, unknown, "gitwharf_"]) {
      expect(await statusOf(`Bearer ${wrong}`)).toBe(401);
      expect(await statusOf(basic("ada", wrong))).toBe(401);
    }
    await store.removeToken(id);
    expect(await statusOf(`Bearer ${token}`)).toBe(401);
    expect((await store.listTokens()).map((each) => each.id)).not.toContain(id);
  });

  it("are held to what they are for, whatever policies allow: operations, repositories, refs, forced updates", async () => {
    await serve({ policies: [{ effect: "allow", users: ["@users"] }] });
    await app.run("push", "-q", as("ada", "right"), "main", "main:ci/base");
    await app.run("push", "-q", as("ada", "right", "other"), "main");
    const { token: reader } = await tokenFor("ada", { operations: ["read"] });
    expect(await statusOf(basic("x", reader))).toBe(200);
    expect((await app.try("push", as("x", reader), "main:y")).stderr).toContain(
      "this token does not allow to write",
    );
    const { token } = await tokenFor("ada", {
      repositories: ["app"],
      refs: [
        { effect: "deny", refs: ["refs/heads/ci/base"], actions: ["delete"] },
        { effect: "allow", refs: ["refs/heads/ci/*"], actions: ["create", "update", "delete"] },
      ],
    });
    expect((await workspace.try("ls-remote", as("x", token, "other"))).stderr).toContain("not found");
    expect(await app.try("push", as("x", token), "main:ci/a")).toMatchObject({ status: 0 });
    expect((await app.try("push", as("x", token), "main:b")).stderr).toContain(
      "this token does not allow to create refs/heads/b",
    );
    expect((await app.try("push", as("x", token), "+main^:ci/a")).stderr).toContain(
      "this token does not allow to force-update refs/heads/ci/a",
    );
    expect((await app.try("push", as("x", token), ":ci/base")).stderr).toContain("does not allow to delete");
    expect(await app.try("push", as("x", token), ":ci/a")).toMatchObject({ status: 0 });
  });

  it("are asked for on raw requests that skip discovery", async () => {
    await serve();
    await app.run("push", "-q", as("ada", "right"), "main");
    const { token } = await tokenFor("ada", { operations: ["read"] });
    const post = async (authorization: string | undefined): Promise<number> => {
      const headers = {
        "Content-Type": RECEIVE_PACK_TYPE,
        ...(authorization === undefined ? {} : { Authorization: authorization }),
      };
      const body = pushOfBlob("raw", "raw\n");
      return (await send(`${url}/app.git/git-receive-pack`, { body, headers })).status;
    };
    expect(await post(undefined)).toBe(401);
    expect(await post(basic("ada", "wrong"))).toBe(401);
    expect(await post("Bearer nonsense")).toBe(401);
    expect(await post(`Bearer ${token}`)).toBe(403);
    expect(await post(basic("ada", "right"))).toBe(200);
  });
});

describe("signed tokens", () => {
  it("push what they are for, with nothing in the database", async () => {
    const { publicKey, privateKey } = generateKeyPairSync("ed25519");
    const file = join(workspace.directory, "platform.pem");
    writeFileSync(file, publicKey.export({ type: "spki", format: "pem" }));
    await serve({ signedTokens: { keys: [file], audience: "git" } });
    const sign = (claims: Record<string, unknown>, seconds = 600): Promise<string> =>
      new SignJWT({ repositories: ["app"], operations: ["read", "write"], ...claims })
        .setProtectedHeader({ alg: "EdDSA", kid: "platform" })
        .setSubject("build-7")
        .setAudience("git")
        .setIssuedAt()
        .setJti("j1")
        .setExpirationTime(Math.floor(Date.now() / 1000) + seconds)
        .sign(privateKey);
    const token = await sign({ refs: [{ effect: "allow", refs: ["refs/heads/build/*"] }] });
    await app.run("push", "-q", as("token", token), "main:build/1");
    expect(pushedBy).toMatchObject([
      { user: "build-7", method: "signed-token", credentialId: "platform:j1" },
    ]);
    expect((await app.try("push", as("token", token), "main")).stderr).toContain(
      "this signed-token does not allow to create refs/heads/main",
    );
    expect((await app.try("push", as("token", token, "other"), "main:build/1")).stderr).toContain(
      "not found",
    );
    expect(await statusOf(`Bearer ${await sign({}, -60)}`)).toBe(401);
    expect(await statusOf(`Bearer ${await sign({ operations: ["write"] })}`)).toBe(403);
  });
});

describe("a header of a trusted proxy", () => {
  const ask = (from: string, headers: Record<string, string | string[]>): Promise<number> =>
    new Promise((resolve, reject) => {
      const { hostname, port } = new URL(url);
      const outgoing = request(
        { hostname, port, path: DISCOVERY, headers, localAddress: from },
        (incoming) => {
          incoming.resume();
          incoming.on("end", () => resolve(incoming.statusCode ?? 0));
        },
      );
      outgoing.on("error", reject);
      outgoing.end();
    });

  it("is believed from the proxy and from nobody else", async () => {
    await serve({ trustedUserHeader: { header: "X-Remote-User", proxies: ["127.0.0.2"] } });
    await app.run("push", "-q", as("ada", "right"), "main");
    expect(await ask("127.0.0.2", { "X-Remote-User": "bob" })).toBe(200);
    expect(await ask("127.0.0.1", { "X-Remote-User": "bob" })).toBe(401);
    for (const claim of ["X-Forwarded-For", "Forwarded", "X-Real-IP"])
      expect(await ask("127.0.0.1", { "X-Remote-User": "bob", [claim]: "127.0.0.2" })).toBe(401);
    expect(await ask("127.0.0.2", { "X-Remote-User": ["bob", "root"] })).toBe(401);
    expect(await ask("127.0.0.2", { "X-Remote-User": "a b" })).toBe(401);
    expect(await ask("127.0.0.2", {})).toBe(401);
    expect(await ask("127.0.0.2", { Authorization: basic("ada", "right") })).toBe(200);
  });
});

describe("client certificates", () => {
  it("sign in when a listed authority has signed them", async () => {
    const path = (name: string): string => join(workspace.directory, name);
    const make = async (name: string, ca?: { key: string; cert: string }) => {
      const pems = await generate([{ name: "commonName", value: name }], {
        keyType: "ec",
        algorithm: "sha256",
        ...(ca === undefined
          ? { extensions: [{ name: "basicConstraints", cA: true, critical: true }] }
          : { ca }),
      });
      writeFileSync(path(`${name}.pem`), pems.cert);
      writeFileSync(path(`${name}.key`), pems.private);
      return { key: pems.private, cert: pems.cert };
    };
    await make("localhost");
    const authority = await make("authority");
    await make("grace", authority);
    await make("stranger", await make("other-authority"));
    const tls = { certificateFile: path("localhost.pem"), keyFile: path("localhost.key") };
    await serve({ clientCertificates: {} }, { tls: { ...tls, clientCaFile: path("authority.pem") } });
    const config = (name: string, version: string): string[] => [
      "-c",
      "http.sslVerify=false",
      "-c",
      `http.version=${version}`,
      "-c",
      `http.sslCert=${path(`${name}.pem`)}`,
      "-c",
      `http.sslKey=${path(`${name}.key`)}`,
    ];
    for (const version of ["HTTP/1.1", "HTTP/2"]) {
      const branch = `main:${version.replace(/\W/g, "")}`;
      await app.run(...config("grace", version), "push", "-q", `${url}/app.git`, branch);
      const strange = await app.try(...config("stranger", version), "ls-remote", `${url}/app.git`);
      expect(strange.stderr).toMatch(/could not read Username|Authentication failed/);
    }
    expect(pushedBy).toHaveLength(2);
    expect(pushedBy[0]).toMatchObject({ user: "grace", method: "client-certificate" });
    expect(pushedBy[0]?.credentialId).toMatch(/^[0-9a-f]{64}$/);
    // Without one, other ways to sign in are open.
    const insecure = ["-c", "http.sslVerify=false"];
    await workspace.run(...insecure, "ls-remote", as("ada", "right"));
    expect((await workspace.try(...insecure, "ls-remote", `${url}/app.git`)).status).not.toBe(0);
  });

  it("are not asked for when nobody would look at them", async () => {
    server = createGitServer({ repositories: createMemoryRepositoryStore(), log: () => undefined });
    const tls = { certificateFile: "c", keyFile: "k", clientCaFile: "ca" };
    await expect(server.listen({ http: 0, tls })).rejects.toMatchObject({ code: "server/bad-configuration" });
  });
});

describe("users of the configuration", () => {
  it("sign in with their passwords, narrowed to their grants, beside those of the database", async () => {
    const users = {
      root: { password: await hashPassword("configured", CHEAP) },
      guest: { password: await hashPassword("guest", CHEAP), grant: { operations: ["read"] as const } },
    };
    await serve({ users });
    await app.run("push", "-q", as("root", "configured"), "main");
    await app.run("push", "-q", as("ada", "right"), "main:ada");
    expect(await statusOf(basic("guest", "guest"))).toBe(200);
    expect((await app.try("push", as("guest", "guest"), "main:guest")).stderr).toContain(
      "does not allow to write",
    );
    for (const [user, password] of [
      ["root", "right"],
      ["ada", "configured"],
      ["eve", "configured"],
      ["__proto__", "x"],
      ["root", ""],
    ] as const)
      expect(await statusOf(basic(user, password))).toBe(401);
  });

  it("have hashes, never passwords", () => {
    const options = { repositories: createMemoryRepositoryStore(), log: () => undefined };
    for (const users of [{ root: { password: "secret" } }, { "a b": { password: "x" } }, { root: {} }]) {
      expect(() => createGitServer({ ...options, users: users as never })).toThrow(
        expect.objectContaining({ code: "server/bad-configuration" }),
      );
    }
  });
});

describe("a database that does not answer", () => {
  it("lets nobody in, and says that it is not the password", async () => {
    await serve({ database: "postgres://127.0.0.1:1/none", authenticators: [] });
    for (const authorization of [undefined, basic("ada", "right")]) {
      const headers = authorization === undefined ? {} : { Authorization: authorization };
      const { status } = await send(`${url}${DISCOVERY}`, { headers });
      expect([403, 503]).toContain(status);
    }
  });
});

// Ten thousand are in threats-guessing.test.ts.
describe("2,000 wrong passwords", { timeout: 240_000 }, () => {
  it("are answered with 401 or 429, and the innocent get in meanwhile", async () => {
    await store.addUser({ name: "bob", password: await hashPassword("innocent", { logN: 14, r: 8, p: 1 }) });
    await store.setPassword("ada", await hashPassword("right", { logN: 14, r: 8, p: 1 }));
    await serve();
    await app.run("push", "-q", as("ada", "right"), "main");
    const { token } = await tokenFor("ada");
    const agent = new Agent({ keepAlive: true, maxSockets: 64 });
    const innocents = new Agent({ keepAlive: true, localAddress: "127.0.0.3" });
    const ask = (user: string, password: string, from: Agent): Promise<number> =>
      new Promise((resolve, reject) => {
        const { hostname, port } = new URL(url);
        const headers = { Authorization: basic(user, password) };
        const outgoing = request({ hostname, port, path: DISCOVERY, headers, agent: from }, (incoming) => {
          incoming.resume();
          incoming.on("end", () => resolve(incoming.statusCode ?? 0));
        });
        outgoing.on("error", reject);
        outgoing.end();
      });
    const counts = new Map<number, number>();
    let left = 2000;
    const guess = async (): Promise<void> => {
      while (left-- > 0) {
        // Users that there are, and users that there are not.
        const status = await ask(left % 2 === 0 ? "ada" : `user${left}`, `guess${left}`, agent);
        counts.set(status, (counts.get(status) ?? 0) + 1);
      }
    };
    const flood = Array.from({ length: 64 }, guess);
    // With a password from another address, for the first time; with a token, and with a remembered password, from the
    // very address that guesses.
    expect(await ask("bob", "innocent", innocents)).toBe(200);
    expect(await ask("x", token, agent)).toBe(200);
    expect(await ask("ada", "right", agent)).toBe(200);
    await Promise.all(flood);
    agent.destroy();
    innocents.destroy();
    expect(new Set(counts.keys())).toEqual(new Set([401, 429]));
    expect((counts.get(401) ?? 0) + (counts.get(429) ?? 0)).toBe(2000);
    // Checks are what costs: few were made, the rest was turned away.
    expect(counts.get(429)).toBeGreaterThan(1000);
  });
});

describe("SSH keys of the database", () => {
  it("sign in at once when added, are held to what they are for, and end when removed", async () => {
    const laptop = makeSshKey(workspace.directory, "laptop");
    const deploy = makeSshKey(workspace.directory, "deploy");
    const stranger = makeSshKey(workspace.directory, "stranger");
    await serve({}, { ssh: 0 });
    const port = sshPort ?? expect.fail();
    const add = async (key: SshKeyFile, grant?: Grant): Promise<string> => {
      const fingerprint = fingerprintOf(key.blob);
      const blob = key.blob.toString("base64");
      const about = { fingerprint, user: "ada", type: "ssh-ed25519", blob, comment: "" };
      await store.addKey({ ...about, grant: grant === undefined ? undefined : JSON.stringify(grant) });
      return fingerprint;
    };
    const fingerprint = await add(laptop);
    await add(deploy, { operations: ["read"], repositories: ["app"] });
    const git = (key: SshKeyFile, ...args: readonly string[]): ReturnType<GitClient["tryWith"]> => {
      const options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null"];
      const client = createSshClient({ directory: workspace.directory, port, keys: [key.path], options });
      return app.tryWith({ env: client.environment }, ...args);
    };
    const at = (name: string): string => `ssh://git@127.0.0.1:${port}/${name}.git`;
    expect(await git(laptop, "push", "-q", at("app"), "main")).toMatchObject({ status: 0 });
    expect(await git(laptop, "push", "-q", at("other"), "main")).toMatchObject({ status: 0 });
    expect(pushedBy[0]).toEqual({ user: "ada", method: "ssh-key", credentialId: fingerprint });
    expect(await git(deploy, "ls-remote", at("app"))).toMatchObject({ status: 0 });
    expect((await git(deploy, "ls-remote", at("other"))).stderr).toContain("'other' does not exist");
    expect((await git(deploy, "push", at("app"), "main:x")).stderr).toContain(
      "this ssh-key does not allow to write",
    );
    expect((await git(stranger, "ls-remote", at("app"))).stderr).toContain("Permission denied");
    expect((await store.findKey(fingerprint))?.lastUsedAt).toBeTypeOf("number");
    // A connection that stands, and is used again and again.
    const connection = new ssh2.Client();
    await new Promise<void>((resolve, reject) => {
      connection.on("ready", resolve).on("error", reject);
      connection.connect({ host: "127.0.0.1", port, username: "git", privateKey: readFileSync(laptop.path) });
    });
    const discover = (): Promise<string> =>
      new Promise((resolve, reject) => {
        connection.exec("git-upload-pack 'app.git'", (error, channel) => {
          if (error !== undefined) return reject(error);
          let text = "";
          const take = (chunk: Buffer): void => {
            text += chunk.toString();
            if (text.includes("refs/heads/main")) channel.end("0000");
          };
          channel.on("data", take).on("close", () => resolve(text));
          channel.stderr.on("data", take);
        });
      });
    expect(await discover()).toContain("refs/heads/main");
    await store.removeKey(fingerprint);
    expect(await discover()).toContain("not valid any more");
    connection.end();
    expect((await git(laptop, "ls-remote", at("app"))).stderr).toContain("Permission denied");
  });
});
