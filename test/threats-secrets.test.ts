/**
 * Secrets in addresses and logs. Seen at Gitorious, which sent passwords to its application in a query string, where every
 * log on the way kept them.
 */
import { generateKeyPairSync } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { inspect } from "node:util";
import { SignJWT } from "jose";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createAccessToken } from "../src/access/access-token.js";
import { hashPassword } from "../src/access/password-hash.js";
import { createAccessStore } from "../src/database/access-store.js";
import { type Database, openDatabase, parseDatabaseLocation } from "../src/database/open-database.js";
import { type Doors, gitHeaders, openDoors } from "./support/doors.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { openRequest } from "./support/open-request.js";
import { pktLine, send } from "./support/raw-http.js";
import { SECRET as SHARED_SECRET, startRemoteApplication } from "./support/remote-application.js";

const PASSWORD = "s3cret-password-of-ada";
const WRONG = "s3cret-of-somebody-elsewhere";
const FOREIGN_TOKEN = "glpat-s3cretForeignToken0001";
const CHEAP = { logN: 10, r: 8, p: 1 };

describe("Gitorious: a password where it is written down", () => {
  let workspace: GitClient;
  let doors: Doors;
  let database: Database;
  let secrets: string[];
  let jwt: string;
  let forged: string;
  let token: string;

  beforeAll(async () => {
    workspace = createWorkspace();
    const location = `sqlite:${join(workspace.directory, "access.sqlite")}`;
    database = await openDatabase(parseDatabaseLocation(location));
    const store = createAccessStore(database);
    const stored = await hashPassword(PASSWORD, CHEAP);
    await store.addUser({ name: "ada", password: stored });
    const made = createAccessToken();
    ({ token } = made);
    const { id, hash } = made;
    await store.addToken({ id, user: "ada", hash, label: "", expiresAt: undefined, grant: undefined });
    const { publicKey, privateKey } = generateKeyPairSync("ed25519");
    const keyFile = join(workspace.directory, "platform.pem");
    writeFileSync(keyFile, publicKey.export({ type: "spki", format: "pem" }));
    const sign = (key: typeof privateKey): Promise<string> =>
      new SignJWT({ repositories: ["**"], operations: ["read", "write"] })
        .setProtectedHeader({ alg: "EdDSA", kid: "platform" })
        .setSubject("ada")
        .setAudience("here")
        .setIssuedAt()
        .setExpirationTime("5m")
        .sign(key);
    jwt = await sign(privateKey);
    forged = await sign(generateKeyPairSync("ed25519").privateKey);
    secrets = [PASSWORD, WRONG, FOREIGN_TOKEN, token, hash, stored, jwt, forged].flatMap((secret) => [
      secret,
      Buffer.from(secret).toString("base64").replace(/=+$/, ""),
      encodeURIComponent(secret),
    ]);
    for (const [user, password] of [
      ["ada", PASSWORD],
      ["ada", WRONG],
      ["x", token],
      ["x", jwt],
      ["x", forged],
      [token, ""],
      [FOREIGN_TOKEN, ""],
    ] as const)
      secrets.push(Buffer.from(`${user}:${password}`).toString("base64"));
    doors = await openDoors(workspace, {
      database: location,
      authenticate: undefined as never,
      policies: undefined as never,
      signedTokens: { keys: [keyFile], audience: "here" },
    });
  });
  afterAll(async () => {
    await doors.close();
    await database.close();
    removeDirectory(workspace);
  });

  const hasSecret = (text: string): string | undefined => secrets.find((secret) => text.includes(secret));
  const written = (): string => doors.log.map((entry) => inspect(entry, { depth: 9 })).join("\n");

  it("stands in no line of the log, of any level, right or wrong, wherever it came from", async () => {
    const basic = (user: string, password: string): Record<string, string> => ({
      Authorization: `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`,
    });
    const discovery = "/app.git/info/refs?service=git-receive-pack";
    const headers: readonly Record<string, string>[] = [
      basic("ada", PASSWORD),
      basic("ada", WRONG),
      basic("nobody", WRONG),
      basic("x", token),
      basic(token, ""),
      basic(token, "x-oauth-basic"),
      basic(FOREIGN_TOKEN, ""),
      basic(`${token}0`, ""),
      basic("x", jwt),
      basic(jwt, ""),
      basic("x", forged),
      { Authorization: `Bearer ${jwt}` },
      { Authorization: `Bearer ${forged}` },
      { Authorization: `Bearer ${FOREIGN_TOKEN}` },
      { Authorization: `Token ${token}` },
      { Authorization: PASSWORD },
      { Cookie: `session=${token}` },
      { "X-Request-Id": token },
      { "X-Remote-User": PASSWORD },
      { "X-Forwarded-For": PASSWORD },
      { "User-Agent": PASSWORD, Referer: `https://x/?p=${PASSWORD}` },
    ];
    for (const each of headers) await send(doors.httpUrl + discovery, { headers: each });
    for (const path of [
      `${discovery}&password=${PASSWORD}`,
      `/ada:${PASSWORD}@host/app.git/info/refs?service=git-upload-pack`,
      `/app.git/HEAD?private_token=${token}`,
      `/app.git/info/refs?service=${token}`,
      `/app.git/info/refs?jwt=${jwt}#${jwt}`,
    ])
      await send(doors.httpUrl, { path });
    const git = await openRequest(
      doors.gitUrl,
      pktLine(`git-upload-pack /app\0host=127.0.0.1\0\0version=2\0`),
    );
    git.socket.end();
    await git.closed;
    expect(doors.log.length).toBeGreaterThan(headers.length);
    expect(hasSecret(written())).toBeUndefined();
    expect(hasSecret(await doors.server.metrics())).toBeUndefined();
  });

  it("is in nothing that a client reads, nor in its own output", async () => {
    await workspace.run("init", "-q", "work");
    const work = workspace.in("work");
    await work.run("commit", "-q", "--allow-empty", "-m", "one");
    for (const header of [
      `Basic ${Buffer.from(`ada:${PASSWORD}`).toString("base64")}`,
      `Bearer ${jwt}`,
      `Bearer ${forged}`,
    ]) {
      const { stdout, stderr } = await work.try(
        ...gitHeaders({ Authorization: header }),
        "push",
        `${doors.httpUrl}/app.git`,
        "main",
      );
      expect(hasSecret(stdout + stderr)).toBeUndefined();
    }
    expect(hasSecret(written())).toBeUndefined();
  });
});

describe("the secret that is shared with an application", () => {
  it("is in no question and in no log, and passwords travel in bodies alone", async () => {
    const workspace = createWorkspace();
    const application = await startRemoteApplication();
    const doors = await openDoors(workspace, {
      authenticate: undefined as never,
      policies: undefined as never,
      anonymousRead: [],
      remote: { url: application.url, secret: SHARED_SECRET, retries: 0 },
    });
    try {
      application.answer = ({ path }) =>
        path.endsWith("/authenticate") ? { refused: "no" } : { allowed: false, reason: "no" };
      for (const password of [PASSWORD, WRONG]) {
        await send(`${doors.httpUrl}/app.git/info/refs?service=git-upload-pack`, {
          headers: { Authorization: `Basic ${Buffer.from(`ada:${password}`).toString("base64")}` },
        });
      }
      await application.close();
      await send(`${doors.httpUrl}/app.git/info/refs?service=git-upload-pack`, {
        headers: { Authorization: `Basic ${Buffer.from(`ada:${PASSWORD}`).toString("base64")}` },
      });
      expect(application.asked.map(({ text }) => text.includes(PASSWORD))).toContain(true);
      for (const { path, headers, text } of application.asked) {
        expect(path + JSON.stringify(headers)).not.toContain(PASSWORD);
        expect(text).not.toContain(SHARED_SECRET);
      }
      const log = doors.log.map((entry) => inspect(entry, { depth: 9 })).join("\n");
      for (const secret of [PASSWORD, WRONG, SHARED_SECRET]) expect(log).not.toContain(secret);
    } finally {
      await doors.close();
      removeDirectory(workspace);
    }
  });
});
