/** Users, keys and tokens: the same on SQLite and on PostgreSQL. */
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { createAccessToken } from "../src/access/access-token.js";
import { hashPassword } from "../src/access/password-hash.js";
import { type AccessStore, createAccessStore } from "../src/database/access-store.js";
import { MIGRATIONS, migrate } from "../src/database/migrations.js";
import { type Database, openDatabase, parseDatabaseLocation } from "../src/database/open-database.js";
import { createGitServer } from "../src/server/git-server.js";
import { createMemoryRepositoryStore } from "../src/storage/memory/memory-repository-store.js";
import { send } from "./support/raw-http.js";
import { databaseEngines } from "./support/database-engines.js";

describe.each(databaseEngines())("the access store on $name", ({ name, isSkipped, create }) => {
  let database: Database;
  let store: AccessStore;
  let location: string;

  beforeEach(async ({ skip }) => {
    if (isSkipped) skip();
    location = await create();
    database = await openDatabase(parseDatabaseLocation(location));
    store = createAccessStore(database);
    return () => database.close();
  });

  it("is open until there is a user, and closed for good from then on", async () => {
    expect(await store.isClosed()).toBe(false);
    await store.addUser({ name: "ada" });
    expect(await store.isClosed()).toBe(true);
    await store.removeUser("ada");
    expect(await store.isClosed()).toBe(true);
  });

  it("keeps users: one of a name, whatever its case", async () => {
    expect(await store.addUser({ name: "bob" })).toBe("added");
    expect(await store.addUser({ name: "ada", password: "hash" })).toBe("added");
    expect(await store.addUser({ name: "ADA" })).toBe("taken");
    expect(await store.findUser("ada")).toMatchObject({ name: "ada", password: "hash" });
    expect(await store.findUser("ADA")).toBeUndefined();
    expect((await store.listUsers()).map((user) => user.name)).toEqual(["ada", "bob"]);
    expect(await store.setPassword("ada", undefined)).toBe(true);
    expect((await store.findUser("ada"))?.password).toBeUndefined();
    expect(await store.setPassword("eve", "x")).toBe(false);
    expect(await store.removeUser("eve")).toBe(false);
    expect((await store.findUser("bob"))?.createdAt).toBeTypeOf("number");
  });

  it("keeps keys, one user a key, and takes them away with their user", async () => {
    await store.addUser({ name: "ada" });
    await store.addUser({ name: "bob" });
    const key = {
      fingerprint: "SHA256:one",
      user: "ada",
      type: "ssh-ed25519",
      blob: "AAAA",
      comment: "laptop",
      grant: '{"operations":["read"]}',
    };
    expect(await store.addKey(key)).toBe("added");
    expect(await store.addKey({ ...key, user: "bob" })).toBe("taken");
    expect(await store.addKey({ ...key, user: "eve" })).toBe("no-such-user");
    expect(await store.addKey({ ...key, fingerprint: "SHA256:two", user: "bob", grant: undefined })).toBe(
      "added",
    );
    expect(await store.findKey("SHA256:one")).toMatchObject({ ...key, lastUsedAt: undefined });
    expect((await store.listKeys()).map((each) => each.user)).toEqual(["ada", "bob"]);
    expect((await store.listKeys("bob")).map((each) => each.grant)).toEqual([undefined]);
    await store.touchKey("SHA256:one");
    expect((await store.findKey("SHA256:one"))?.lastUsedAt).toBeTypeOf("number");
    await store.removeUser("ada");
    expect(await store.findKey("SHA256:one")).toBeUndefined();
    expect(await store.removeKey("SHA256:two")).toBe(true);
    expect(await store.removeKey("SHA256:two")).toBe(false);
  });

  it("keeps tokens by their hash, and takes them away with their user", async () => {
    await store.addUser({ name: "ada" });
    const token = { id: "t1", user: "ada", label: "ci", grant: undefined, expiresAt: 1_900_000_000_000 };
    expect(await store.addToken({ ...token, hash: "h1" })).toBe("added");
    expect(await store.addToken({ ...token, id: "t2", user: "eve", hash: "h2" })).toBe("no-such-user");
    await expect(store.addToken({ ...token, id: "t3", hash: "h1" })).rejects.toThrow();
    expect(await store.findToken("h1")).toMatchObject(token);
    expect(await store.findToken("h2")).toBeUndefined();
    await store.touchToken("t1");
    expect((await store.listTokens("ada"))[0]?.lastUsedAt).toBeTypeOf("number");
    expect(await store.removeToken("t1")).toBe(true);
    expect(await store.removeToken("t1")).toBe(false);
    await store.addToken({ ...token, hash: "h1" });
    await store.removeUser("ada");
    expect(await store.listTokens()).toEqual([]);
  });

  it("keeps which repositories anyone may read", async () => {
    expect(await store.setPublic("b", true)).toBe(true);
    expect(await store.setPublic("a/b", true)).toBe(true);
    expect(await store.setPublic("b", true)).toBe(false);
    expect(await store.listPublic()).toEqual(["a/b", "b"]);
    expect([await store.isPublic("b"), await store.isPublic("B")]).toEqual([true, false]);
    expect(await store.setPublic("b", false)).toBe(true);
    expect(await store.setPublic("b", false)).toBe(false);
    expect(await store.isPublic("b")).toBe(false);
  });

  it("signs people in to a server, which it closes while it runs", async () => {
    const server = createGitServer({
      repositories: createMemoryRepositoryStore(),
      autoCreate: "read",
      database: location,
      log: () => undefined,
    });
    const { http } = await server.listen({ http: 0 });
    const statusFor = async (password?: string): Promise<number> => {
      const headers =
        password === undefined
          ? {}
          : { Authorization: `Basic ${Buffer.from(`ada:${password}`).toString("base64")}` };
      return (await send(`${http.url}/app.git/info/refs?service=git-upload-pack`, { headers })).status;
    };
    try {
      expect(await statusFor()).toBe(200);
      await store.addUser({ name: "ada", password: await hashPassword("right", { logN: 8, r: 8, p: 1 }) });
      const { id, token, hash } = createAccessToken();
      await store.addToken({ id, user: "ada", hash, label: "", grant: undefined, expiresAt: undefined });
      expect(await statusFor()).toBe(401);
      expect(await statusFor("wrong")).toBe(401);
      expect(await statusFor("right")).toBe(200);
      expect(await statusFor(token)).toBe(200);
      await store.removeUser("ada");
      expect(await statusFor("right")).toBe(401);
      expect(await statusFor(token)).toBe(401);
    } finally {
      await server.close({ graceMs: 0 });
    }
  });

  it("takes text as text", async () => {
    const odd = "x'; drop table users; --\u{1f4a5}\\\"";
    await store.addUser({ name: odd, password: odd });
    expect(await store.findUser(odd)).toMatchObject({ name: odd, password: odd });
  });

  it("lets exactly one of several racing connections add a user", async () => {
    const others = await Promise.all(
      Array.from({ length: 4 }, () => openDatabase(parseDatabaseLocation(location))),
    );
    try {
      const outcomes = await Promise.all(
        others.map((other) => createAccessStore(other).addUser({ name: "ada" })),
      );
      expect(outcomes.toSorted()).toEqual(["added", "taken", "taken", "taken"]);
    } finally {
      for (const other of others) await other.close();
    }
  });

  it("migrates once when several processes begin together, and a database of its own only", async () => {
    const racing = await create();
    const opened = await Promise.all(
      Array.from({ length: 4 }, () => openDatabase(parseDatabaseLocation(racing))),
    );
    for (const each of opened) await each.close();
    expect(await migrate(database.db, name)).toEqual([]);
    const later = { name: "999-later", up: async () => undefined };
    expect(await migrate(database.db, name, [...MIGRATIONS, later])).toEqual(["999-later"]);
    await expect(migrate(database.db, name)).rejects.toMatchObject({ code: "server/bad-configuration" });
  });

  it("leaves nothing of a migration that fails", async () => {
    const failing = {
      name: "999-failing",
      up: async (db: Database["db"]) => {
        await db.schema.createTable("half").addColumn("a", "text").execute();
        throw new Error("no");
      },
    };
    await expect(migrate(database.db, name, [...MIGRATIONS, failing])).rejects.toThrow("no");
    // It could not be made a second time if it were there.
    await database.db.schema.createTable("half").addColumn("a", "text").execute();
    expect(await migrate(database.db, name)).toEqual([]);
  });
});

describe("a database's location", () => {
  it.each(["", "sqlite:", "mysql://x", "access.sqlite"])("refuses %j", (text) => {
    expect(() => parseDatabaseLocation(text)).toThrow(
      expect.objectContaining({ code: "server/bad-configuration" }),
    );
  });

  it("is a file that nobody else reads", async () => {
    const directory = mkdtempSync(join(tmpdir(), "gitwharf-test-"));
    try {
      const path = join(directory, "private.sqlite");
      await (await openDatabase({ engine: "sqlite", path })).close();
      expect(statSync(path).mode & 0o777).toBe(0o600);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });

  it.each([
    ["sqlite", "sqlite:/dev/null/x"],
    ["postgres", "postgres://127.0.0.1:1/x"],
  ])("that cannot be reached is told as such (%s)", async (_, text) => {
    await expect(openDatabase(parseDatabaseLocation(text))).rejects.toMatchObject({
      code: "database/unavailable",
    });
  });
});
