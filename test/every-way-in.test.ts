/** All ways to sign in on one server: each is known by its own, is held to what it may, and does not stand in for another. */
import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { join } from "node:path";
import { SignJWT } from "jose";
import { generate } from "selfsigned";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createAccessToken } from "../src/access/access-token.js";
import { hashPassword } from "../src/access/password-hash.js";
import { fingerprintOf } from "../src/access/ssh-public-key.js";
import { createAccessStore } from "../src/database/access-store.js";
import { type Database, openDatabase, parseDatabaseLocation } from "../src/database/open-database.js";
import type { Identity } from "../src/engine/push.js";
import { createGitServer, type GitServer, type Listening } from "../src/server/git-server.js";
import { createMemoryRepositoryStore } from "../src/storage/memory/memory-repository-store.js";
import { createWorkspace, type GitClient, type GitResult, removeDirectory } from "./support/git-client.js";
import { jwkOf } from "./support/jwk.js";
import { pushOfBlob, RECEIVE_PACK_TYPE, UPLOAD_PACK_TYPE } from "./support/raw-push.js";
import { createSshClient } from "./support/ssh-client.js";
import { certifySshKey, makeSshKey, type SshKeyFile } from "./support/ssh-keygen.js";

const CHEAP = { logN: 10, r: 8, p: 1 };

const USERS = "ada bob carol dave dora dirk grace heidi ivan judy kate liam".split(" ");

/** What a client brings along. */
interface Way {
  readonly user: string;
  readonly method: string;
  readonly authorization?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Files of a TLS client certificate, `NAME.pem` and `NAME.key`. */
  readonly certificate?: string;
}

let workspace: GitClient;
let app: GitClient;
let server: GitServer;
let listening: Listening;
let database: Database;
const ways: Record<string, Way> = {};
const keys: Record<string, SshKeyFile & { readonly user: string; readonly method: string }> = {};
const pushedBy: Identity[] = [];

const path = (name: string): string => join(workspace.directory, name);
const basic = (user: string, password: string): string =>
  `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;

async function makeCertificate(
  name: string,
  options: { readonly ca?: { key: string; cert: string }; readonly notAfterDate?: Date } = {},
): Promise<{ key: string; cert: string }> {
  const { ca, notAfterDate } = options;
  const pems = await generate([{ name: "commonName", value: name }], {
    keyType: "ec",
    algorithm: "sha256",
    ...(notAfterDate === undefined ? {} : { notBeforeDate: new Date(0), notAfterDate }),
    ...(ca === undefined ? { extensions: [{ name: "basicConstraints", cA: true, critical: true }] } : { ca }),
  });
  writeFileSync(path(`${name}.pem`), pems.cert);
  writeFileSync(path(`${name}.key`), pems.private);
  return { key: pems.private, cert: pems.cert };
}

beforeAll(async () => {
  workspace = createWorkspace();
  await workspace.run("init", "-q", "app");
  app = workspace.in("app");
  await app.run("commit", "-q", "--allow-empty", "-m", "first");
  const location = `sqlite:${path("access.sqlite")}`;
  database = await openDatabase(parseDatabaseLocation(location));
  const store = createAccessStore(database);

  await store.addUser({ name: "ada", password: await hashPassword("right", CHEAP) });
  ways["password"] = { user: "ada", method: "password", authorization: basic("ada", "right") };
  await store.addUser({ name: "bob" });
  const { id, token, hash } = createAccessToken();
  await store.addToken({ id, user: "bob", hash, label: "", expiresAt: undefined, grant: undefined });
  ways["token"] = { user: "bob", method: "token", authorization: basic("x", token) };
  const users = { carol: { password: await hashPassword("configured", CHEAP) } };
  ways["configured"] = { user: "carol", method: "password", authorization: basic("carol", "configured") };

  // A platform with a key of each kind, in PEM and in a key set.
  const ed = generateKeyPairSync("ed25519");
  const ec = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
  writeFileSync(path("platform-1.pem"), ed.publicKey.export({ type: "spki", format: "pem" }));
  const set = [
    { ...jwkOf(ec.publicKey), kid: "platform-2" },
    { ...jwkOf(rsa.publicKey), kid: "platform-3" },
  ];
  writeFileSync(path("platform.json"), JSON.stringify({ keys: set }));
  const sign = (user: string, alg: string, kid: string, key: KeyObject): Promise<string> =>
    new SignJWT({ repositories: ["app"], operations: ["read", "write"] })
      .setProtectedHeader({ alg, kid })
      .setSubject(user)
      .setAudience("git.example.org")
      .setIssuedAt()
      .setExpirationTime("10m")
      .sign(key);
  for (const [user, alg, kid, key] of [
    ["dave", "EdDSA", "platform-1", ed.privateKey],
    ["dora", "ES256", "platform-2", ec.privateKey],
    ["dirk", "RS256", "platform-3", rsa.privateKey],
  ] as const) {
    const authorization = `Bearer ${await sign(user, alg, kid, key)}`;
    ways[`signed by ${alg}`] = { user, method: "signed-token", authorization };
  }

  await makeCertificate("localhost");
  const authority = await makeCertificate("tls-authority");
  await makeCertificate("grace", { ca: authority });
  await makeCertificate("late", { ca: authority, notAfterDate: new Date(1_000_000_000_000) });
  ways["client certificate"] = { user: "grace", method: "client-certificate", certificate: "grace" };
  ways["proxy header"] = { user: "heidi", method: "proxy-header", headers: { "X-Remote-User": "heidi" } };
  ways["own"] = { user: "ivan", method: "own", authorization: "Bearer of-our-own" };
  ways["callback"] = { user: "judy", method: "callback", authorization: basic("judy", "called") };

  const sshAuthority = makeSshKey(workspace.directory, "ssh-authority");
  for (const [name, user, method] of [
    ["stored", "ada", "ssh-key"],
    ["certified", "kate", "ssh-certificate"],
    ["asked", "liam", "callback"],
  ] as const)
    keys[name] = { ...makeSshKey(workspace.directory, name), user, method };
  const { stored, certified, asked } = keys as Record<string, SshKeyFile>;
  if (stored === undefined || certified === undefined || asked === undefined) throw new Error("no keys");
  await store.addKey({
    fingerprint: fingerprintOf(stored.blob),
    user: "ada",
    type: "ssh-ed25519",
    blob: stored.blob.toString("base64"),
    comment: "",
    grant: undefined,
  });
  certifySshKey(sshAuthority, certified, ["-n", "kate"]);

  server = createGitServer({
    repositories: createMemoryRepositoryStore(),
    autoCreate: "push",
    log: () => undefined,
    database: location,
    users,
    signedTokens: { keys: [path("platform-1.pem"), path("platform.json")], audience: "git.example.org" },
    clientCertificates: {},
    trustedUserHeader: { header: "X-Remote-User", proxies: ["127.0.0.1"] },
    sshServer: { userAuthoritiesFile: `${sshAuthority.path}.pub` },
    authenticators: [
      {
        name: "own",
        authenticate: ({ credentials }) =>
          typeof credentials === "object" &&
          credentials.kind === "bearer" &&
          credentials.token === "of-our-own"
            ? { identity: { user: "ivan", method: "own" } }
            : undefined,
      },
    ],
    authenticate: (credentials) =>
      (credentials.kind === "basic" && credentials.user === "judy" && credentials.password === "called") ||
      (credentials.kind === "ssh-key" && credentials.blob.equals(asked.blob))
        ? { user: credentials.kind === "basic" ? "judy" : "liam", method: "callback" }
        : undefined,
    anonymousRead: ["public/*"],
    gitDaemon: { exportAll: true, receivePack: true },
    policies: [
      { effect: "allow", users: ["@users"], operations: ["read", "create"] },
      ...USERS.map((user) => ({
        effect: "allow" as const,
        users: [user],
        refs: [`refs/heads/${user}`, `refs/tags/${user}`],
      })),
    ],
    handlers: { preReceive: ({ identity }) => void pushedBy.push(identity) },
  });
  listening = await server.listen({
    http: 0,
    ssh: 0,
    git: 0,
    tls: {
      certificateFile: path("localhost.pem"),
      keyFile: path("localhost.key"),
      clientCaFile: path("tls-authority.pem"),
    },
  });
});
afterAll(async () => {
  await server.close({ graceMs: 0 });
  await database.close();
  removeDirectory(workspace);
});

interface RawAsk {
  readonly way?: Way | undefined;
  readonly localAddress?: string;
  readonly body?: Buffer | string;
  readonly type?: string;
}

/** One HTTPS request. @returns its status, and what it says */
function ask(
  target: string,
  { way, localAddress, body, type }: RawAsk,
): Promise<{ status: number; text: string }> {
  const { hostname, port } = new URL(listening.http.url);
  const headers: Record<string, string> = {
    ...way?.headers,
    ...(way?.authorization === undefined ? {} : { Authorization: way.authorization }),
    ...(type === undefined ? {} : { "Content-Type": type }),
  };
  const files =
    way?.certificate === undefined
      ? {}
      : {
          cert: readFileSync(path(`${way.certificate}.pem`)),
          key: readFileSync(path(`${way.certificate}.key`)),
        };
  return new Promise((resolve, reject) => {
    const outgoing = request(
      {
        hostname,
        port,
        path: target,
        method: body === undefined ? "GET" : "POST",
        headers,
        rejectUnauthorized: false,
        agent: false,
        ...(localAddress === undefined ? {} : { localAddress }),
        ...files,
      },
      (incoming) => {
        let text = "";
        incoming.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
        incoming.on("end", () => resolve({ status: incoming.statusCode ?? 0, text }));
      },
    );
    outgoing.on("error", reject);
    outgoing.end(body);
  });
}

/** git over HTTPS with what a way brings along. */
function git(way: Way | undefined, ...args: readonly string[]): Promise<GitResult> {
  const config = ["http.sslVerify=false"];
  if (way?.authorization !== undefined) config.push(`http.extraHeader=Authorization: ${way.authorization}`);
  for (const [name, value] of Object.entries(way?.headers ?? {}))
    config.push(`http.extraHeader=${name}: ${value}`);
  if (way?.certificate !== undefined)
    config.push(
      `http.sslCert=${path(`${way.certificate}.pem`)}`,
      `http.sslKey=${path(`${way.certificate}.key`)}`,
    );
  return app.try(...config.flatMap((text) => ["-c", text]), ...args);
}

function gitOverSsh(key: SshKeyFile, user: string, ...args: readonly string[]): Promise<GitResult> {
  const port = listening.ssh?.port ?? 0;
  const client = createSshClient({
    directory: workspace.directory,
    port,
    keys: [key.path],
    options: [`User=${user}`],
  });
  return app.tryWith({ env: client.environment }, ...args);
}

const lastPush = (): Identity | undefined => pushedBy.at(-1);
const urlOf = (name: string): string => `${listening.http.url}/${name}.git`;
const sshUrlOf = (name: string): string => `ssh://127.0.0.1:${listening.ssh?.port}/${name}.git`;

const HTTP_WAYS = [
  "password",
  "token",
  "configured",
  "signed by EdDSA",
  "signed by ES256",
  "signed by RS256",
  "client certificate",
  "proxy header",
  "own",
  "callback",
];

describe("over HTTPS", () => {
  it.each(HTTP_WAYS)("%s: signs in, pushes its own and nobody else's, fetches", async (name) => {
    const way = ways[name];
    if (way === undefined) throw new Error(name);
    const { user, method } = way;
    expect(await git(way, "push", "-q", urlOf("app"), `main:${user}`)).toMatchObject({ status: 0 });
    expect(lastPush()).toMatchObject({ user, method });
    const other = user === "ada" ? "bob" : "ada";
    const refused = await git(way, "push", urlOf("app"), `main:refs/heads/${other}-2`);
    expect(refused.status).toBe(1);
    expect(refused.stderr).toContain(`not allowed to create refs/heads/${other}-2`);
    expect((await git(way, "ls-remote", urlOf("app"))).stdout).toContain(`refs/heads/${user}`);
  });

  it.each(HTTP_WAYS)("%s: counts on requests that skip discovery", async (name) => {
    const way = ways[name];
    if (way === undefined) throw new Error(name);
    const push = (ref: string, by: Way | undefined): Promise<{ status: number; text: string }> =>
      ask("/app.git/git-receive-pack", { way: by, body: pushOfBlob(ref, name), type: RECEIVE_PACK_TYPE });
    expect(await push(way.user, undefined)).toMatchObject({ status: 401 });
    expect((await push("somebody", way)).text).not.toContain("ok refs/tags/somebody");
    expect((await push(way.user, way)).text).toContain(`ok refs/tags/${way.user}`);
    expect(lastPush()).toMatchObject({ user: way.user, method: way.method });
    const fetchOf = (by: Way | undefined): Promise<{ status: number; text: string }> =>
      ask("/app.git/git-upload-pack", { way: by, body: "0000", type: UPLOAD_PACK_TYPE });
    expect((await fetchOf(undefined)).status).toBe(401);
    expect((await fetchOf(way)).status).toBe(200);
    for (const file of ["HEAD", "info/refs", "objects/info/packs"])
      expect((await ask(`/app.git/${file}`, {})).status).toBe(401);
  });

  it("what is wrong in one way is not taken for another, nor for nobody", async () => {
    const discovery = "/public/app.git/info/refs?service=git-upload-pack";
    expect((await ask("/app.git/info/refs?service=git-upload-pack", {})).status).toBe(401);
    const wrong: readonly Way[] = [
      basic("ada", "configured"),
      basic("carol", "right"),
      basic("judy", "right"),
      basic("ivan", "of-our-own"),
      basic("nobody", "called"),
      basic("", ""),
      "Bearer gitwharf_",
      "Bearer of-our-own-",
      "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ.",
      "Digest x",
    ].map((authorization) => ({ user: "", method: "", authorization }));
    // What anybody may read is no way around that.
    for (const way of wrong)
      expect([way.authorization, (await ask(discovery, { way })).status]).toEqual([way.authorization, 401]);
    const swapped = await changedToken();
    for (const authorization of swapped) {
      const way = { user: "", method: "", authorization };
      expect((await ask(discovery, { way })).status).toBe(401);
    }
  });

  it("a header from elsewhere names nobody", async () => {
    const way = ways["proxy header"];
    const discovery = "/app.git/info/refs?service=git-upload-pack";
    expect((await ask(discovery, { way })).status).toBe(200);
    expect((await ask(discovery, { way, localAddress: "127.0.0.3" })).status).toBe(401);
    const pushed = { body: pushOfBlob("heidi", "x"), type: RECEIVE_PACK_TYPE, localAddress: "127.0.0.3" };
    expect((await ask("/app.git/git-receive-pack", { way, ...pushed })).status).toBe(401);
  });

  it("a client certificate that is over, or of nobody who is trusted, signs nobody in", async () => {
    for (const certificate of ["late", "localhost"]) {
      const way = { user: "", method: "", certificate };
      expect((await ask("/app.git/info/refs?service=git-upload-pack", { way })).status).toBe(401);
    }
  });
});

/** Tokens of the platform: under the name of another of its keys, with another algorithm, for another server. */
async function changedToken(): Promise<readonly string[]> {
  const [head = "", body = "", signature = ""] = (ways["signed by ES256"]?.authorization ?? "")
    .slice(7)
    .split(".");
  const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  const claims = JSON.parse(Buffer.from(body, "base64url").toString()) as Record<string, unknown>;
  const stranger = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const forged = await new SignJWT(claims)
    .setProtectedHeader({ alg: "ES256", kid: "platform-2" })
    .sign(stranger.privateKey);
  return [
    `${encode({ alg: "ES256", kid: "platform-1" })}.${body}.${signature}`,
    `${encode({ alg: "ES256", kid: "absent" })}.${body}.${signature}`,
    `${encode({ alg: "RS256", kid: "platform-2" })}.${body}.${signature}`,
    `${encode({ alg: "none" })}.${body}.`,
    `${head}.${encode({ ...claims, sub: "ada" })}.${signature}`,
    `${head}.${encode({ ...claims, aud: "other.example.org" })}.${signature}`,
    forged,
  ].map((token) => `Bearer ${token}`);
}

describe("over SSH", () => {
  it.each(["stored", "certified", "asked"])(
    "%s: signs in, pushes its own and nobody else's",
    async (name) => {
      const key = keys[name];
      if (key === undefined) throw new Error(name);
      const { user, method } = key;
      const as = name === "certified" ? user : "git";
      expect(await gitOverSsh(key, as, "push", "-q", sshUrlOf("ssh"), `main:${user}`)).toMatchObject({
        status: 0,
      });
      expect(lastPush()).toMatchObject({ user, method });
      const refused = await gitOverSsh(key, as, "push", sshUrlOf("ssh"), "main:refs/heads/main");
      expect(refused.stderr).toContain("not allowed to create refs/heads/main");
      expect((await gitOverSsh(key, as, "ls-remote", sshUrlOf("ssh"))).stdout).toContain(
        `refs/heads/${user}`,
      );
    },
  );

  it("nobody comes in who brings none of them", async () => {
    const stranger = makeSshKey(workspace.directory, "stranger");
    const { certified } = keys;
    if (certified === undefined) throw new Error("no keys");
    expect((await gitOverSsh(stranger, "git", "ls-remote", sshUrlOf("ssh"))).stderr).toContain(
      "Permission denied",
    );
    expect((await gitOverSsh(certified, "ada", "ls-remote", sshUrlOf("ssh"))).stderr).toContain(
      "Permission denied",
    );
  });
});

describe("over git://", () => {
  it("everybody is nobody: reads what anyone may read, pushes nothing", async () => {
    const url = listening.git?.url ?? "";
    const ada = ways["password"];
    expect(await git(ada, "push", "-q", urlOf("public/app"), "main:ada")).toMatchObject({ status: 0 });
    expect((await app.try("ls-remote", `${url}/public/app.git`)).stdout).toContain("refs/heads/ada");
    expect((await app.try("ls-remote", `${url}/app.git`)).status).not.toBe(0);
    for (const name of ["app", "public/app", "public/new"]) {
      const pushed = await app.try("push", `${url}/${name}.git`, "main:ada-2");
      expect(pushed.status).not.toBe(0);
      expect(pushed.stderr).toMatch(/remote error/);
    }
    expect(lastPush()).toMatchObject({ user: "ada" });
  });
});
