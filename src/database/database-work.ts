/**
 * Work on the database as a sequence of statements: a generator yields each and is given what it came to. So the same work
 * runs on PostgreSQL, where every statement is waited for, and on SQLite, where all of it runs at once and nothing else in
 * the process gets in between. What runs it begins it again when the database could not, so it starts from nothing each time.
 */
import type { Compilable, CompiledQuery } from "kysely";

export type DatabaseWork<Result> = Generator<CompiledQuery, Result, StatementResult>;

export interface StatementResult {
  readonly rows: readonly unknown[];
  /** Rows that were inserted, changed or removed. */
  readonly affected: number;
}

/**
 * "read": nothing is written. "statement": one statement, which writes. "transaction": all or nothing; each statement sees
 * what others have committed before it (PostgreSQL: read committed), and nobody writes beside it on SQLite.
 */
export type WorkMode = "read" | "statement" | "transaction";

/**
 * @param work is given true when an earlier attempt may have been carried out: it then looks for what that one left, behind
 *   a row that both must lock
 * @throws database/unavailable when the database did not carry it out in some attempts; `details.outcome` is "none", or
 *   "unknown" when it may have. Errors of SQL as the driver has them.
 */
export type RunWork = <Result>(
  mode: WorkMode,
  work: (maybeDone: boolean) => DatabaseWork<Result | Undone<Result>>,
) => Promise<Result>;

/** What a transaction answers that is to leave nothing behind. */
export class Undone<Result> {
  readonly result: Result;

  constructor(result: Result) {
    this.result = result;
  }
}

export function* all<Row>(query: Compilable<Row>): DatabaseWork<readonly Row[]> {
  return (yield query.compile()).rows as readonly Row[];
}

export function* first<Row>(query: Compilable<Row>): DatabaseWork<Row | undefined> {
  return (yield* all(query))[0];
}

/** @returns how many rows it changed */
export function* affect(query: Compilable): DatabaseWork<number> {
  return (yield query.compile()).affected;
}
