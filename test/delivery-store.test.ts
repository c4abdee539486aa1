/** Deliveries as rows: the same on SQLite and on PostgreSQL. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createDeliveryStore, type DeliveryStore } from "../src/database/delivery-store.js";
import { openDatabase, parseDatabaseLocation } from "../src/database/open-database.js";
import { SKIP_POSTGRES, startPostgres, type TestPostgres } from "./support/postgres.js";

let directory: string;
let postgres: TestPostgres | undefined;
let made = 0;

const ENGINES = [
  { name: "sqlite", create: async () => `sqlite:${join(directory, `made/${++made}/access.sqlite`)}` },
  { name: "postgres", create: async () => (await postgres?.createDatabase()) ?? "" },
] as const;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "gitwharf-test-"));
  if (!SKIP_POSTGRES) postgres = await startPostgres();
});
afterAll(async () => {
  await postgres?.stop();
  rmSync(directory, { recursive: true, force: true });
});

const origin = (repository: string, pushId: string) => ({
  repository,
  pushId,
  user: "ada",
  repositoryId: "7",
});
const refs = (...names: readonly string[]) =>
  names.map((refName) => ({ refName, oldOid: "0".repeat(40), newOid: "1".repeat(40) }));

describe.each(ENGINES)("the delivery store on $name", ({ name, create }) => {
  let store: DeliveryStore;
  beforeEach(async ({ skip }) => {
    if (name === "postgres" && SKIP_POSTGRES) skip();
    const database = await openDatabase(parseDatabaseLocation(await create()));
    store = createDeliveryStore(database);
    return () => database.close();
  });
  const order = async (repository: string): Promise<readonly string[]> =>
    (await store.list(repository)).map(({ refName }) => refName);

  it("keeps the order of a repository, whoever writes at the same time", async () => {
    const many = Array.from({ length: 1200 }, (_, i) => `refs/heads/${i}`);
    await store.add(origin("a", "1"), refs(...many), false);
    expect(await order("a")).toEqual(many);
    await Promise.all(
      Array.from({ length: 6 }, (_, i) => store.add(origin("b", String(i)), refs(`${i}-1`, `${i}-2`), true)),
    );
    const written = await order("b");
    expect(written).toHaveLength(12);
    for (let i = 0; i < 6; i++) expect(written.indexOf(`${i}-2`)).toBe(written.indexOf(`${i}-1`) + 1);
    expect((await store.listRepositories()).toSorted()).toEqual(["a", "b"]);
  });

  it("tells those that have moved from those that were to", async () => {
    await store.add(origin("a", "1"), refs("one", "two"), false);
    await store.add(origin("a", "2"), refs("one"), false);
    expect(await store.first("a")).toMatchObject({
      ...origin("a", "1"),
      refName: "one",
      hasMoved: false,
      attempts: 0,
      notBefore: 0,
    });
    await store.markMoved({ pushId: "1" });
    expect((await store.listUnmoved("a", ["one", "two"])).map(({ pushId }) => pushId)).toEqual(["2"]);
    await store.remove({ unmovedOf: "1" });
    await store.remove({ unmovedOf: "2" });
    expect(await order("a")).toEqual(["one", "two"]);
    const first = await store.first("a");
    await store.retryLater(first?.id ?? "", 1234);
    expect(await store.first("a")).toMatchObject({ refName: "one", attempts: 1, notBefore: 1234 });
    await store.remove({ id: first?.id ?? "" });
    expect(await order("a")).toEqual(["two"]);
    await store.add(origin("a", "3"), refs("three"), true);
    expect(await order("a")).toEqual(["two", "three"]);
  });

  it("leases a repository to one at a time", async () => {
    expect(await store.lease("a", "one", 60_000)).toBe(true);
    expect(await store.lease("a", "one", 60_000)).toBe(true);
    expect(await store.lease("a", "two", 60_000)).toBe(false);
    expect(await store.lease("b", "two", 60_000)).toBe(true);
    await store.release("a", "two");
    expect(await store.lease("a", "two", 60_000)).toBe(false);
    await store.release("a", "one");
    expect(await store.lease("a", "two", -1)).toBe(true);
    // It has run out.
    expect(await store.lease("a", "one", 60_000)).toBe(true);
  });
});
