/**
 * No secret in any log: passwords, tokens, signed tokens, keys, in URLs, headers, names and push options, over every
 * transport, right ones and wrong ones. All that the server writes is searched: request log, audit log, metrics, traces
 * of errors.
 */
import { createPrivateKey, generateKeyPairSync } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { inspect } from "node:util";
import { SignJWT } from "jose";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { createAccessToken } from "../src/access/access-token.js";
import { fingerprintOf } from "../src/access/ssh-public-key.js";
import { hashPassword } from "../src/access/password-hash.js";
import { formatLogEntry } from "../src/cli/log-form.js";
import { createAccessStore } from "../src/database/access-store.js";
import { openDatabase, parseDatabaseLocation } from "../src/database/open-database.js";
import { createGitServer, type GitServer, type Listening } from "../src/server/git-server.js";
import type { ServiceLogEntry } from "../src/transport/service-host.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { createSshClient } from "./support/ssh-client.js";
import { makeSshKey } from "./support/ssh-keygen.js";

const PASSWORD = "Tr0ub4dor-right";
const WRONG = "Tr0ub4dor-wrong";
const OPTION = "token=opti0n-s3cret";
const CHEAP = { logN: 10, r: 8, p: 1 };

describe("secrets in logs", () => {
  let workspace: GitClient;
  let app: GitClient;
  let server: GitServer;
  let listening: Listening;
  let audit: string;
  let token: string;
  let jwt: string;
  let badJwt: string;
  const entries: ServiceLogEntry[] = [];
  const written: string[] = [];
  const restore: (() => void)[] = [];

  beforeAll(async () => {
    for (const stream of [process.stdout, process.stderr]) {
      const write = stream.write.bind(stream);
      stream.write = ((chunk: string | Uint8Array, ...more: never[]) => {
        written.push(Buffer.from(chunk).toString());
        return write(chunk, ...more);
      }) as typeof stream.write;
      restore.push(() => void (stream.write = write));
    }
    workspace = createWorkspace();
    audit = join(workspace.directory, "audit.jsonl");
    const location = `sqlite:${join(workspace.directory, "access.sqlite")}`;
    const database = await openDatabase(parseDatabaseLocation(location));
    const store = createAccessStore(database);
    await store.addUser({ name: "ada", password: await hashPassword(PASSWORD, CHEAP) });
    const made = createAccessToken();
    ({ token } = made);
    await store.addToken({ ...made, user: "ada", label: "", expiresAt: undefined, grant: undefined });
    const ada = makeSshKey(workspace.directory, "ada");
    await store.addKey({
      user: "ada",
      type: "ssh-ed25519",
      blob: ada.blob.toString("base64"),
      fingerprint: fingerprintOf(ada.blob),
      comment: "",
      grant: undefined,
    });
    await database.close();
    makeSshKey(workspace.directory, "eve");
    const { publicKey, privateKey } = generateKeyPairSync("ed25519");
    const publicFile = join(workspace.directory, "mint.pem");
    writeFileSync(publicFile, publicKey.export({ type: "spki", format: "pem" }));
    const sign = (audience: string): Promise<string> =>
      new SignJWT({ repositories: ["**"], operations: ["read", "write"] })
        .setProtectedHeader({ alg: "EdDSA", kid: "mint" })
        .setSubject("ada")
        .setAudience(audience)
        .setIssuedAt()
        .setExpirationTime("5m")
        .sign(createPrivateKey(privateKey.export({ type: "pkcs8", format: "pem" })));
    jwt = await sign("gitwharf");
    badJwt = await sign("elsewhere");
    server = createGitServer({
      repositories: join(workspace.directory, "repositories"),
      autoCreate: "push",
      durability: "none",
      sshServer: { hostKeyDirectory: inject("hostKeyDirectory") },
      database: location,
      signedTokens: { keys: [publicFile], audience: "gitwharf" },
      rates: false,
      audit,
      gitDaemon: { exportAll: true, receivePack: true },
      log: (entry) => void entries.push(entry),
    });
    listening = await server.listen({ http: 0, ssh: 0, git: 0 });
    await workspace.run("init", "-q", "app");
    app = workspace.in("app");
    await app.run("commit", "-q", "--allow-empty", "-m", "one");
    for (const name of ["c", "d"]) {
      await workspace.run("init", "-q", "--bare", `repositories/${name}.git`);
      await workspace.in(`repositories/${name}.git`).run("config", "receive.advertisePushOptions", "true");
    }
  });
  afterAll(async () => {
    await server.close({ graceMs: 0 });
    for (const undo of restore) undo();
    removeDirectory(workspace);
  });

  const as = (user: string, password?: string): string =>
    listening.http.url.replace("//", `//${user}${password === undefined ? "" : `:${password}`}@`);

  it("is true of passwords and tokens in URLs, as password and in the place of a name", async () => {
    let count = 0;
    for (const secret of [PASSWORD, WRONG, token, `${token.slice(0, -1)}x`, jwt, badJwt])
      for (const own of [as("ada", secret), as(secret, "x-oauth-basic"), as(secret)])
        await app.try("push", "-o", OPTION, `${own}/c.git`, `main:p${count++}`);
  });

  it("is true of headers, queries, paths and names", async () => {
    for (const secret of [PASSWORD, WRONG, token, jwt, badJwt]) {
      const basic = `Basic ${Buffer.from(`ada:${secret}`).toString("base64")}`;
      for (const header of [`Bearer ${secret}`, basic, `Token ${secret}`, secret, `Basic ${secret}`]) {
        await app.try(
          "-c",
          `http.extraHeader=Authorization: ${header}`,
          "push",
          `${listening.http.url}/b.git`,
          "main",
        );
        const asked = [
          `app.git/info/refs?service=git-upload-pack&access_token=${secret}`,
          `x:${secret}@host/app.git/info/refs?service=git-upload-pack`,
          `app.git/info/refs?service=${secret}`,
          `app.git/git-upload-pack?private_token=${secret}`,
        ];
        for (const path of asked)
          await (await fetch(`${listening.http.url}/${path}`, { headers: { authorization: header } })).text();
      }
    }
  });

  it("is true of push options and keys over SSH and git://", async () => {
    const port = listening.ssh?.port ?? 0;
    for (const name of ["ada", "eve"]) {
      const { environment: env } = createSshClient({
        directory: workspace.directory,
        port,
        keys: [join(workspace.directory, name)],
      });
      await app.tryWith({ env }, "push", "-o", OPTION, `ssh://git@127.0.0.1:${port}/c.git`, "main");
      const odd = `ssh://git@127.0.0.1:${port}/x:${PASSWORD}@host/c.git`;
      await app.tryWith({ env }, "push", "-o", OPTION, odd, "main");
    }
    await app.try("push", "-o", OPTION, `${listening.git?.url}/d.git`, "main");
    await app.try("push", "-o", OPTION, `${listening.git?.url}/x:${PASSWORD}@host/d.git`, "main");
  });

  it("finds what it looks for nowhere, and the pushes in the log", async () => {
    const url = `${as("ada", PASSWORD)}/c.git`;
    expect(await app.try("push", "-o", OPTION, url, "main:e")).toMatchObject({ status: 0 });
    await app.try("push", `${as("ada", token)}/c.git`, "main:f");
    await app.try("push", `${as("ada", jwt)}/c.git`, "main:g");
    const metrics = await server.metrics();
    await server.close();
    const lines = entries.flatMap((entry) =>
      (["text", "json", "none"] as const).map((form) => formatLogEntry(form, entry, new Date())),
    );
    const audited = readFileSync(audit, "utf8");
    const all = [audited, inspect(entries, { depth: 9 }), ...lines, metrics, ...written].join("\n");
    for (const method of ["password", "token", "signed-token", "ssh-key"])
      expect(audited).toContain(`"method":"${method}"`);
    expect(audited).toContain('"event":"sign-in"');
    const secrets = [PASSWORD, WRONG, token, token.slice(9, 60), OPTION, "opti0n-s3cret"];
    const encoded = secrets.flatMap((secret) => [
      secret,
      Buffer.from(secret).toString("base64").slice(0, -3),
      encodeURIComponent(secret),
    ]);
    for (const secret of [...encoded, jwt, jwt.split(".")[2] ?? "", badJwt.split(".")[2] ?? ""])
      expect(
        all
          .split("\n")
          .filter((line) => line.includes(secret))
          .map((line) => line.replaceAll(secret, "SECRET")),
      ).toEqual([]);
  });
});
