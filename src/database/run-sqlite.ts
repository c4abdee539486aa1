/**
 * Runs work on SQLite: from `begin immediate` to `commit` without a turn of the event loop. So no other promise's statement
 * comes to be in the transaction, and no other connection of this process waits for it with the whole process.
 */
import { setTimeout } from "node:timers/promises";
import type { SqliteDatabase } from "kysely";
import { GitwharfError } from "../base/errors.js";
import { type DatabaseWork, type RunWork, type StatementResult, Undone } from "./database-work.js";

/** libsql's, as far as it is used here. */
export interface LibsqlDatabase extends SqliteDatabase {
  readonly inTransaction: boolean;
  readonly open: boolean;
  exec(sql: string): unknown;
}

const WAIT_MS = 10;

/** @param busyTimeoutMs how long it waits for another process that writes; the connection's own time-out is left at that */
export function createSqliteRunner(database: LibsqlDatabase, busyTimeoutMs: number): RunWork {
  return async (mode, work) => {
    for (let waitedMs = 0; ; ) {
      // To ask it then would end the process.
      if (!database.open)
        throw new GitwharfError("database/unavailable", "the database was closed", {
          details: { outcome: "none" },
        });
      if (mode === "read") return resultOf(perform(database, work(false)));
      if (begin(database, busyTimeoutMs)) {
        try {
          const result = perform(database, work(false));
          if (result instanceof Undone) {
            database.exec("rollback");
            return result.result;
          }
          commit(database);
          return result;
        } catch (error) {
          // SQLite has undone it itself after some errors.
          if (database.inTransaction) database.exec("rollback");
          throw error;
        }
      }
      if (waitedMs >= busyTimeoutMs) {
        throw new GitwharfError(
          "database/unavailable",
          "the database is being written by another process, which does not end; try again",
          { details: { outcome: "none" } },
        );
      }
      // At random, so that those who wait do not come back together.
      const waitMs = WAIT_MS * (0.5 + Math.random());
      await setTimeout(waitMs);
      waitedMs += waitMs;
    }
  };
}

/** @returns false when somebody else is writing */
function begin(database: LibsqlDatabase, busyTimeoutMs: number): boolean {
  if (database.inTransaction) return false;
  // SQLite would wait with the whole process. Only here may it meet a lock: a prepared statement that does so stays unfinished.
  database.exec("pragma busy_timeout = 0");
  try {
    database.exec("begin immediate");
    return true;
  } catch (error) {
    if (!isBusy(error)) throw error;
    return false;
  } finally {
    database.exec(`pragma busy_timeout = ${busyTimeoutMs}`);
  }
}

/** A disk that fails here may have what it was given, or not: only who opens the file anew finds out. */
function commit(database: LibsqlDatabase): void {
  try {
    database.exec("commit");
  } catch (cause) {
    throw new GitwharfError("database/unavailable", "the database could not be told to commit", {
      cause,
      details: { outcome: "unknown" },
    });
  }
}

export function isBusy(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "SQLITE_BUSY";
}

function perform<Result>(database: LibsqlDatabase, work: DatabaseWork<Result>): Result {
  for (let step = work.next(); ; ) {
    if (step.done === true) return step.value;
    const { sql, parameters } = step.value;
    step = work.next(ask(database, sql, parameters));
  }
}

function ask(database: LibsqlDatabase, sql: string, parameters: readonly unknown[]): StatementResult {
  const statement = database.prepare(sql);
  if (!statement.reader) return { rows: [], affected: Number(statement.run(parameters).changes) };
  const rows = statement.all(parameters).map(withBuffers);
  return { rows, affected: rows.length };
}

/** libsql has bytes as an ArrayBuffer here. */
function withBuffers(row: unknown): unknown {
  if (typeof row !== "object" || row === null) return row;
  for (const [name, value] of Object.entries(row))
    if (value instanceof ArrayBuffer) Reflect.set(row, name, Buffer.from(value));
  return row;
}

function resultOf<Result>(result: Result | Undone<Result>): Result {
  return result instanceof Undone ? result.result : result;
}
