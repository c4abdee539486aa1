/** Events as rows: the same on SQLite and on PostgreSQL. */
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { addEvents } from "../src/database/add-events.js";
import { createDeliveryStore } from "../src/database/delivery-store.js";
import { createEventStore, type EventStore } from "../src/database/event-store.js";
import { sql } from "../src/database/kysely.js";
import { MIGRATIONS, migrate } from "../src/database/migrations.js";
import { type Database, openDatabase, parseDatabaseLocation } from "../src/database/open-database.js";
import { databaseEngines } from "./support/database-engines.js";

const about = { transport: "ssh", options: ["ci.skip"], facts: { repository_id: "7" } };
const origin = (repository: string, pushId: string) => ({ repository, pushId, user: "ada", about });
const refs = (...names: readonly string[]) =>
  names.map((refName) => ({ refName, oldOid: "0".repeat(40), newOid: "1".repeat(40) }));

describe.each(databaseEngines())("the event store on $name", ({ name, isSkipped, create }) => {
  let database: Database;
  let other: Database;
  let store: EventStore;
  beforeEach(async ({ skip }) => {
    if (isSkipped) skip();
    const location = parseDatabaseLocation(await create());
    database = await openDatabase(location);
    other = await openDatabase(location);
    store = createEventStore(database);
    return async () => {
      await database.close();
      await other.close();
    };
  });
  const order = async (repository: string): Promise<readonly string[]> =>
    (await store.listUntold(repository)).map(({ refName }) => refName);
  const cursors = async (): Promise<readonly (readonly [number, string])[]> =>
    (await store.list(0, 1000)).map(({ cursor, refName }) => [cursor, refName]);
  const tellAll = async (rows: EventStore, repository: string): Promise<void> => {
    while ((await rows.tell(repository)) > 0);
  };

  it("keeps the order of a repository, whoever writes at the same time", async () => {
    const many = Array.from({ length: 1200 }, (_, i) => `refs/heads/${i}`);
    await store.add(origin("a", "1"), refs(...many), false);
    expect(await order("a")).toEqual(many);
    const stores = [store, createEventStore(other)];
    await Promise.all(
      Array.from({ length: 6 }, (_, i) =>
        (stores[i % 2] ?? store).add(origin("b", String(i)), refs(`${i}-1`, `${i}-2`), true),
      ),
    );
    const written = await order("b");
    expect(written).toHaveLength(12);
    for (let i = 0; i < 6; i++) expect(written.indexOf(`${i}-2`)).toBe(written.indexOf(`${i}-1`) + 1);
    expect((await store.listRepositoriesUntold()).toSorted()).toEqual(["a", "b"]);
  });

  it("tells those that have moved from those that were to", async () => {
    await store.add({ ...origin("a", "1"), isFirst: true }, refs("one", "two"), false);
    await store.add(origin("a", "2"), refs("one"), false);
    expect(await store.firstUntold("a")).toMatchObject({
      ...origin("a", "1"),
      refName: "one",
      hasMoved: false,
      isFirst: true,
      forced: undefined,
      cursor: undefined,
    });
    expect(await store.markMoved({ pushId: "1" })).toBe(2);
    expect(await store.markMoved({ pushId: "none" })).toBe(0);
    const unmoved = await store.listUnmoved("a", ["one", "two"]);
    expect(unmoved.map(({ pushId }) => pushId)).toEqual(["2"]);
    for (const { id } of await store.listUntold("a")) await store.remove(id);
    expect(await order("a")).toEqual(["one", "two"]);
  });

  it("gives cursors in the order of a repository, to what has moved", async () => {
    await store.add(origin("a", "1"), refs("one"), false);
    await store.add(origin("a", "2"), refs("two"), true);
    await store.add(origin("b", "3"), refs("three"), true);
    const [, two] = await store.listUntold("a");
    expect(await store.tell("a")).toBe(0);
    expect(await store.tell("b")).toBe(1);
    expect(await cursors()).toEqual([[1, "three"]]);
    await store.markMoved({ pushId: "1" });
    expect(await store.tell("a")).toBe(2);
    expect(await cursors()).toEqual([
      [1, "three"],
      [2, "one"],
      [3, "two"],
    ]);
    expect(await store.tell("a")).toBe(0);
    expect((await store.list(1, 1)).map(({ cursor }) => cursor)).toEqual([2]);
    expect(await store.lastCursor()).toBe(3);
    expect(await store.find(two?.id ?? "")).toMatchObject({ cursor: 3, refName: "two" });
  });

  it("gives no cursor twice and none that is less than one that was seen", async () => {
    const repositories = ["a", "b", "c", "d"];
    const seen: number[] = [];
    const work = repositories.map(async (repository, i) => {
      const rows = i % 2 === 0 ? store : createEventStore(other);
      for (let push = 0; push < 5; push++) {
        await rows.add(origin(repository, String(push)), refs("one", "two", "three"), true);
        await Promise.all([tellAll(store, repository), tellAll(rows, repository)]);
      }
    });
    let isDone = false;
    const all = Promise.all(work).finally(() => (isDone = true));
    const rows = createEventStore(other);
    const look = async (): Promise<void> => {
      for (const { cursor } of await rows.list(seen.at(-1) ?? 0, 100)) seen.push(cursor);
    };
    while (!isDone) await look();
    await all;
    await look();
    expect(seen).toEqual(Array.from({ length: 60 }, (_, i) => i + 1));
  });

  it("keeps those of many refs as few rows until they are told, in order, each once", async () => {
    const drafts = Array.from({ length: 1100 }, (_, i) => ({
      ref: {
        refName: `refs/heads/${i}`,
        oldOid: "0".repeat(40),
        newOid: i.toString(16).padStart(40, "0"),
        ...(i === 1 ? { forced: true } : {}),
      },
    }));
    const shared = origin("a", "1");
    await store.add(origin("a", "0"), refs("before"), false);
    await database.run("transaction", () =>
      addEvents(
        database.db,
        drafts.map((draft) => ({ ...draft, origin: shared })),
      ),
    );
    await store.add(origin("a", "2"), refs("after"), true);
    const names = drafts.map(({ ref }) => ref.refName);
    expect(await order("a")).toEqual(["before", ...names, "after"]);
    const rows = await database.db.selectFrom("events").select("id").execute();
    expect(rows.length).toBeLessThan(10);
    expect(await store.tell("a")).toBe(0);
    await store.markMoved({ pushId: "0" });
    expect(await store.listUnmoved("a", ["", ...names])).toEqual([]);
    // Two tell them at once.
    const both = createEventStore(other);
    await Promise.all([tellAll(store, "a"), tellAll(both, "a")]);
    expect(await store.firstUntold("a")).toBeUndefined();
    const told = await store.list(0, 2000);
    expect(told.map(({ refName }) => refName)).toEqual(["before", ...names, "after"]);
    expect(told.map(({ cursor }) => cursor)).toEqual(told.map((_, i) => i + 1));
    expect(told[2]).toMatchObject({ ...shared, ...drafts[1]?.ref, hasMoved: true, isFirst: false });
    expect(told[3]).toMatchObject({ ...drafts[2]?.ref, forced: undefined });
    expect(new Set(told.map(({ id }) => id)).size).toBe(told.length);
    // What comes then, comes behind.
    expect(await store.prune(Date.now() + 1000, 1102)).toBe(1101);
    await store.add(origin("a", "3"), refs("one", "two"), true);
    await store.add(origin("a", "4"), refs("three"), true);
    await tellAll(store, "a");
    expect(await cursors()).toEqual([
      [1102, "after"],
      [1103, "one"],
      [1104, "two"],
      [1105, "three"],
    ]);
  });

  it("forgets old ones, and never goes back to their cursors", async () => {
    await store.add(origin("a", "1"), refs("one", "two", "three"), true);
    await tellAll(store, "a");
    expect(await store.prune(0, 3)).toBe(0);
    expect(await store.prune(Date.now() + 1000, 1)).toBe(1);
    expect(await store.prune(Date.now() + 1000, 3)).toBe(1);
    expect(await cursors()).toEqual([[3, "three"]]);
    await store.add(origin("a", "2"), refs("four"), true);
    await tellAll(store, "a");
    expect(await store.lastCursor()).toBe(4);
  });

  it("takes over what a Gitorious application was still to be told", async () => {
    const older = parseDatabaseLocation(await create());
    if (name === "postgres") return;
    const { Kysely, SqliteDialect } = await import("kysely");
    const { createRequire } = await import("node:module");
    const { mkdirSync } = await import("node:fs");
    const path = older.engine === "sqlite" ? older.path : "";
    mkdirSync(join(path, ".."), { recursive: true });
    const Libsql = createRequire(import.meta.url)("libsql") as new (path: string) => never;
    const db = new Kysely<never>({ dialect: new SqliteDialect({ database: new Libsql(path) }) });
    await migrate(db as never, "sqlite", MIGRATIONS.slice(0, 3));
    await sql`insert into deliveries values
      ('x', 'app', 1, 'p', 'ada', '7', 'refs/heads/main', ${"0".repeat(40)}, ${"1".repeat(40)}, 1, 3, 0, 5)`.execute(
      db,
    );
    await db.destroy();
    const opened = await openDatabase(older);
    const [event] = await createEventStore(opened).listUntold();
    expect(event).toMatchObject({
      id: "x",
      repository: "app",
      hasMoved: true,
      about: { facts: { repository_id: "7" } },
    });
    await tellAll(createEventStore(opened), "app");
    expect(await createDeliveryStore(opened).list("gitorious")).toHaveLength(1);
    await opened.close();
  });
});
