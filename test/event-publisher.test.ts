/** Events get their cursors in order, and what a server has left open is asked of the refs. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createEventStore, type EventStore, type NewEvent } from "../src/database/event-store.js";
import { type Database, openDatabase, parseDatabaseLocation } from "../src/database/open-database.js";
import { createEventPublisher } from "../src/events/event-publisher.js";
import type { RepositoryWork } from "../src/events/repository-work.js";
import type { Repository, RepositoryStore } from "../src/storage/contracts/repository.js";
import { createMemoryRepositoryStore } from "../src/storage/memory/memory-repository-store.js";

const NULL = "0".repeat(40);
const [A, B] = ["a".repeat(40), "b".repeat(40)] as const;
/** So old that whoever wrote it has had its time. */
const OLD_MS = 10_000;

let directory: string;
let made = 0;
let database: Database;
let store: EventStore;
let repositories: RepositoryStore;
let app: Repository;
let publisher: RepositoryWork;
let told: string[];
let logged: string[];

beforeAll(() => void (directory = mkdtempSync(join(tmpdir(), "gitwharf-publisher-"))));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
beforeEach(async () => {
  const path = join(directory, String(++made), "access.sqlite");
  database = await openDatabase(parseDatabaseLocation(`sqlite:${path}`));
  store = createEventStore(database);
  repositories = createMemoryRepositoryStore();
  app = await repositories.create("app");
  told = [];
  logged = [];
  publisher = createEventPublisher({
    store: async () => store,
    open: (name) => repositories.open(name),
    onTold: (repository) => told.push(repository),
    log: ({ message }) => logged.push(message),
  });
});
afterEach(async () => {
  await publisher.close();
  await app.close();
  await repositories.close();
  await database.close();
});

const ref = (name: string, oldOid: string, newOid: string): NewEvent => ({
  refName: `refs/heads/${name}`,
  oldOid,
  newOid,
});
async function add(hasMoved: boolean, ...refs: readonly NewEvent[]): Promise<void> {
  await store.add({ repository: "app", pushId: String(refs.length), user: "", about: {} }, refs, hasMoved);
}
const age = (): Promise<unknown> =>
  database.db
    .updateTable("events")
    .set((column) => ({ created_at: column("created_at", "-", OLD_MS) }))
    .execute();
const move = (name: string, newOid: string | null): Promise<unknown> =>
  app.refs.transact({ updates: [{ name: `refs/heads/${name}`, oldOid: undefined, newOid }], atomic: true });
const all = async (): Promise<readonly string[]> =>
  (await store.list(0, 100)).map(({ cursor, refName }) => `${cursor} ${refName}`);

describe("the publisher", () => {
  it("tells of what has moved at once, and once", async () => {
    await add(true, ref("one", NULL, A), ref("two", NULL, A));
    await publisher.run("app");
    await publisher.run("app");
    expect(await all()).toEqual(["1 refs/heads/one", "2 refs/heads/two"]);
    expect(told).toEqual(["app"]);
  });

  it("waits for who may still be at it, and holds the others back", async () => {
    await add(false, ref("one", NULL, A));
    await add(true, ref("two", NULL, A));
    await publisher.run("app");
    expect(await all()).toEqual([]);
    await store.markMoved({ id: (await store.firstUntold("app"))?.id ?? "" });
    await publisher.run("app");
    expect(await all()).toEqual(["1 refs/heads/one", "2 refs/heads/two"]);
  });

  it("asks the refs about what a server has left, when it looks", async () => {
    await move("one", A);
    await move("two", B);
    await add(false, ref("one", NULL, A), ref("two", A, B), ref("three", A, NULL), ref("never", NULL, A));
    await add(false, ref("two", B, A));
    await add(true, ref("last", NULL, A));
    await age();
    publisher.start();
    await publisher.run("app");
    expect(await all()).toEqual([
      "1 refs/heads/one",
      "2 refs/heads/two",
      "3 refs/heads/three",
      "4 refs/heads/last",
    ]);
    expect(await store.listUntold()).toEqual([]);
    expect(logged.filter((line) => line.includes("has not moved"))).toHaveLength(2);
  });

  it("leaves no lock behind, and no ref changed", async () => {
    await move("one", A);
    await add(false, ref("one", A, B));
    await age();
    await publisher.run("app");
    expect(await all()).toEqual([]);
    const snapshot = await app.snapshot();
    expect(snapshot.refs.get("refs/heads/one")?.oid).toBe(A);
    snapshot.release();
    expect(await move("one", B)).toMatchObject([{ ok: true }]);
  });

  it("does nothing more once it is closed", async () => {
    await publisher.close();
    await add(true, ref("one", NULL, A));
    await publisher.run("app");
    expect(await all()).toEqual([]);
  });
});
