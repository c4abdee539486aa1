/** A connection that another one kept waiting for too long goes on afterwards, with what the other has written. */
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { createDeliveryStore } from "./delivery-store.js";
import { createEventStore, type EventStore } from "./event-store.js";
import { type Database, openDatabase } from "./open-database.js";
import type { LibsqlDatabase } from "./run-sqlite.js";

const Libsql = createRequire(import.meta.url)("libsql") as new (path: string) => LibsqlDatabase;
const [NULL, A] = ["0".repeat(40), "a".repeat(40)] as const;

let directory: string;
let database: Database;
let other: LibsqlDatabase;
let events: EventStore;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "gitwharf-writes-"));
  const path = join(directory, "access.sqlite");
  database = await openDatabase({ engine: "sqlite", path });
  await database.sql.raw("pragma busy_timeout = 5").execute(database.db);
  other = new Libsql(path);
  events = createEventStore(database);
});
afterEach(async () => {
  other.close();
  await database.close();
  rmSync(directory, { recursive: true, force: true });
});

const add = (refName: string): Promise<void> =>
  events.add(
    { repository: "app", pushId: refName, user: "", about: {} },
    [{ refName, oldOid: NULL, newOid: A }],
    true,
  );

it("writes that met a lock leave nothing open", async () => {
  const deliveries = createDeliveryStore(database);
  await add("one");
  other.exec("begin immediate");
  other.exec("update events set user_name = 'ada'");
  for (const write of [
    () => add("two"),
    () => events.tell("app"),
    () => events.prune(1, 1),
    () => deliveries.register("t"),
    () => deliveries.lease({ target: "t", repository: "app", owner: "me" }, 1000),
  ]) {
    await expect(write()).rejects.toMatchObject({ code: "SQLITE_BUSY" });
    expect(await events.listUntold()).toMatchObject([{ refName: "one", user: "" }]);
  }
  other.exec("commit");
  expect(await events.listUntold()).toMatchObject([{ refName: "one", user: "ada" }]);
  await add("two");
  expect(await events.tell("app")).toBe(2);
  // Nor do those that it holds up itself.
  other.exec("begin immediate");
  other.exec("rollback");
});

it("what is refused is undone, and the next goes on", async () => {
  await database.sql.raw("create unique index once on events (ref_name)").execute(database.db);
  await add("one");
  await expect(
    database.sql.raw("update events set repository = null").execute(database.db),
  ).rejects.toThrow();
  await expect(add("one")).rejects.toThrow(/UNIQUE/);
  await add("two");
  expect(await events.listUntold()).toHaveLength(2);
});
