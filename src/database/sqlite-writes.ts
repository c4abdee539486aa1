/**
 * SQLite's own statements that write, each behind `begin immediate`: so none of them meets another connection's lock half-way.
 * One that did would stay unfinished with libsql, and with the next question the connection would stand still in time: it would
 * read what was there at that moment, and write nothing any more, until the statement is collected as garbage.
 * Specification: sqlite3_step (SQLITE_BUSY), SQLITE_BUSY_SNAPSHOT.
 */
import type { SqliteDatabase } from "kysely";
import type { LibsqlDatabase } from "./run-sqlite.js";

const WRITES = /^\s*(?:insert|update|delete|replace)\b/i;

/** The same database, for a dialect. Waits for others as long as the connection's time-out says. */
export function withLockedWrites(database: LibsqlDatabase): SqliteDatabase {
  const locked = <Result>(write: () => Result): Result => {
    // It has the lock already, or has to fail with it.
    if (database.inTransaction) return write();
    database.exec("begin immediate");
    try {
      const result = write();
      database.exec("commit");
      return result;
    } finally {
      // SQLite has undone it itself after some errors.
      if (database.inTransaction) database.exec("rollback");
    }
  };
  return {
    close: () => database.close(),
    prepare(sql) {
      const statement = database.prepare(sql);
      if (!WRITES.test(sql)) return statement;
      return {
        reader: statement.reader,
        all: (parameters) => locked(() => statement.all(parameters)),
        run: (parameters) => locked(() => statement.run(parameters)),
        iterate: (parameters) => statement.iterate(parameters),
      };
    },
  };
}
