/** Work on SQLite: nothing gets into a transaction, and nobody waits with the whole process. */
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { affect, all, type DatabaseWork, first, Undone } from "./database-work.js";
import { type Database, openDatabase } from "./open-database.js";
import { createSqliteRunner, type LibsqlDatabase } from "./run-sqlite.js";

describe("work on SQLite", () => {
  let directory: string;
  let path: string;
  let database: Database;
  const raw: LibsqlDatabase[] = [];

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), "gitwharf-test-"));
    path = join(directory, "rows.sqlite");
    database = await openDatabase({ engine: "sqlite", path });
  });
  afterEach(async () => {
    await database.close();
    for (const one of raw.splice(0)) one.close();
    rmSync(directory, { recursive: true, force: true });
  });

  /** As another process has it. */
  function open(): LibsqlDatabase {
    const Libsql = createRequire(import.meta.url)("libsql") as new (path: string) => LibsqlDatabase;
    const opened = new Libsql(path);
    raw.push(opened);
    return opened;
  }
  const write = (name: string) => affect(database.db.insertInto("facts").values({ name, value: "" }));
  const names = async (): Promise<readonly string[]> =>
    (await database.db.selectFrom("facts").select("name").orderBy("name").execute()).map(({ name }) => name);

  function* writeMany(prefix: string): DatabaseWork<void> {
    for (let i = 0; i < 20; i++) yield* write(`${prefix} ${i}`);
  }

  it("refuses whoever comes when it was closed", async () => {
    await database.close();
    for (const mode of ["read", "statement", "transaction"] as const) {
      const work = database.run(mode, () => all(database.db.selectFrom("facts").selectAll()));
      await expect(work).rejects.toMatchObject({ code: "database/unavailable" });
    }
  });

  it("undoes all of a transaction and nothing of what others write at the same time", async () => {
    const others = async (): Promise<void> => {
      for (let i = 0; i < 20; i++) {
        await database.db
          .insertInto("facts")
          .values({ name: `other ${i}`, value: "" })
          .execute();
      }
    };
    const undone = database.run("transaction", function* () {
      yield* writeMany("undone");
      return new Undone("answer");
    });
    const failed = database.run("transaction", function* () {
      yield* writeMany("failed");
      yield* write("failed 0");
    });
    const thrown = database.run("transaction", function* () {
      yield* writeMany("thrown");
      throw new Error("of the work itself");
    });
    const [answer, conflict, error] = await Promise.allSettled([undone, failed, thrown, others()]);
    expect(answer).toMatchObject({ value: "answer" });
    expect(conflict).toMatchObject({ reason: { code: expect.stringMatching(/^SQLITE_CONSTRAINT/) } });
    expect(error).toMatchObject({ reason: { message: "of the work itself" } });
    expect((await names()).filter((name) => !name.startsWith("other"))).toEqual([]);
    expect(await names()).toHaveLength(20);
  });

  it("is there for others once it is done", async () => {
    const affected = await database.run("transaction", () => write("one"));
    expect(affected).toBe(1);
    const facts = database.db.selectFrom("facts").select("name");
    expect(await database.run("read", () => first(facts))).toEqual({ name: "one" });
    expect(await database.run("read", () => all(facts.where("name", "=", "two")))).toEqual([]);
    expect(open().prepare("select name from facts").all([])).toMatchObject([{ name: "one" }]);
  });

  it("waits for who writes without holding up the process, and then goes on", async () => {
    const other = open();
    other.exec("begin immediate");
    const waiting = database.run("statement", () => write("late"));
    // The event loop turns: else this would never come.
    await new Promise((resolve) => setImmediate(resolve));
    other.prepare("insert into facts (name, value) values ('early', '')").run([]);
    other.exec("commit");
    expect(await waiting).toBe(1);
    expect(await names()).toEqual(["early", "late"]);
    // Nothing unfinished holds the lock.
    other.exec("begin immediate");
    other.exec("rollback");
  });

  it("waits for a transaction that is open on its own connection", async () => {
    const connection = open();
    connection.exec("pragma journal_mode = wal");
    const run = createSqliteRunner(connection, 1000);
    connection.exec("begin immediate");
    connection.prepare("insert into facts (name, value) values ('first', '')").run([]);
    const waiting = run("transaction", () => write("second"));
    await new Promise((resolve) => setImmediate(resolve));
    connection.exec("rollback");
    await waiting;
    expect(await names()).toEqual(["second"]);
  });

  it("says so when the other never ends", async () => {
    const [other, connection] = [open(), open()];
    const run = createSqliteRunner(connection, 50);
    other.exec("begin immediate");
    await expect(run("transaction", () => write("never"))).rejects.toMatchObject({
      code: "database/unavailable",
      details: { outcome: "none" },
    });
    other.exec("rollback");
    await run("transaction", () => write("at last"));
    expect(await names()).toEqual(["at last"]);
  });
});
