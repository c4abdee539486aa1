/** What the parts of the metadata store share: the database, row locks where the engine has them, and what its failures become. */
import type { RawBuilder, SelectQueryBuilder } from "kysely";
import { GitwharfError, isGitwharfError } from "../../../base/errors.js";
import type { DatabaseWork, Undone, WorkMode } from "../../../database/database-work.js";
import { isConflict } from "../../../database/is-conflict.js";
import type { Database } from "../../../database/open-database.js";

export interface MetadataDatabase {
  readonly db: Database["db"];
  /** @throws storage/io; storage/exists with this name when a row of it is there already */
  run<Result>(
    mode: WorkMode,
    work: (maybeDone: boolean) => DatabaseWork<Result | Undone<Result>>,
    name?: string,
  ): Promise<Result>;
  /**
   * Now, and so many milliseconds later, by the database's clock: those of servers may be hours apart, and no row has a time of theirs. It
   * stays the same throughout a statement.
   */
  now(laterMs?: number): RawBuilder<number>;
  /** Rows that stay as they are until the transaction is over; others may lock them so too. */
  shared<Tables, Table extends keyof Tables, Row>(
    query: SelectQueryBuilder<Tables, Table, Row>,
  ): SelectQueryBuilder<Tables, Table, Row>;
  /** Rows that nobody else locks until the transaction is over. */
  locked<Tables, Table extends keyof Tables, Row>(
    query: SelectQueryBuilder<Tables, Table, Row>,
  ): SelectQueryBuilder<Tables, Table, Row>;
}

export function metadataDatabase({
  db,
  run,
  engine,
  sql,
}: Pick<Database, "db" | "run" | "engine" | "sql">): MetadataDatabase {
  const now =
    engine === "postgres"
      ? sql<number>`(extract(epoch from statement_timestamp()) * 1000)::bigint`
      : sql<number>`cast(round((julianday('now') - 2440587.5) * 86400000) as integer)`;
  return {
    db,
    now: (laterMs = 0) => (laterMs === 0 ? now : sql<number>`(${now} + ${Math.round(laterMs)})`),
    async run(mode, work, name) {
      try {
        return await run(mode, work);
      } catch (error) {
        if (name !== undefined && isConflict(error)) throw exists(name);
        throw asStorageError(error);
      }
    },
    // On SQLite one who writes is alone.
    shared: (query) => (engine === "postgres" ? query.forShare() : query),
    locked: (query) => (engine === "postgres" ? query.forUpdate() : query),
  };
}

export function exists(name: string): GitwharfError {
  return new GitwharfError("storage/exists", `repository '${name}' exists already`);
}

/** @param state what it would have to be */
export function notFound(id: string, state: string): GitwharfError {
  return new GitwharfError("storage/not-found", `there is no ${state} repository with id '${id}'`);
}

function asStorageError(cause: unknown): GitwharfError {
  if (isGitwharfError(cause) && cause.code !== "database/unavailable") return cause;
  const outcome: unknown = isGitwharfError(cause) ? cause.details["outcome"] : "none";
  const message =
    outcome === "unknown"
      ? "the database was lost while it was told to commit, and whether it did cannot be told; look before you try again"
      : "the database of the object store cannot be read or written now; try again";
  return new GitwharfError("storage/io", message, { cause, details: { outcome } });
}
