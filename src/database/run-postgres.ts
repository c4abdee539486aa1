/**
 * Runs work on PostgreSQL, on a connection of its own out of the pool, again when the database asks for that (a deadlock) or
 * when the connection was lost. Whoever loses it while the transaction is being committed does not know whether it was: the
 * next attempt is told so. Every transaction that writes holds a lock until it is over, so one that looks behind that lock
 * is told the truth, however late the server comes to what it was sent.
 */
import { setTimeout } from "node:timers/promises";
import type { Pool, PoolClient, QueryConfig } from "pg";
import { GitwharfError } from "../base/errors.js";
import { type DatabaseWork, type RunWork, Undone, type WorkMode } from "./database-work.js";

const ATTEMPTS_MAX = 12;
const FIRST_WAIT_MS = 20;
const WAIT_MAX_MS = 1000;
/** Beyond what the server itself allows a statement: who hears nothing for so long has lost the connection. */
const ANSWER_TIMEOUT_MS = 15_000;
const GIVE_UP_MS = 30_000;

/** serialization_failure, deadlock_detected: undone by the server, and to be tried again. */
const UNDONE_STATES: ReadonlySet<string> = new Set(["40001", "40P01"]);
/** The server ends the connection, is about to start or has no connection left. */
const AWAY_STATES: ReadonlySet<string> = new Set(["57P01", "57P02", "57P03", "57P05", "25P03", "53300"]);

/** @param giveUpMs after so long work that failed is not begun again */
export function createPostgresRunner(pool: Pool, giveUpMs = GIVE_UP_MS): RunWork {
  return async (mode, work) => {
    const begun = Date.now();
    let maybeDone = false;
    for (let attempt = 1; ; attempt++) {
      try {
        return await runOnce(pool, mode, work(maybeDone));
      } catch (error) {
        if (!(error instanceof FailedStatement)) throw error;
        if (error.isLost && error.mayBeDone) maybeDone = true;
        const mayRetry = (error.isLost && !pool.ending) || UNDONE_STATES.has(error.state ?? "");
        if (mayRetry && attempt < ATTEMPTS_MAX && Date.now() - begun < giveUpMs) {
          await setTimeout(waitBefore(attempt + 1));
          continue;
        }
        if (!mayRetry && !maybeDone) throw error.cause;
        throw new GitwharfError(
          "database/unavailable",
          maybeDone
            ? "the database was lost while it was told to commit, and cannot be asked whether it did"
            : "the database does not answer; try again",
          { cause: error.cause, details: { outcome: maybeDone ? "unknown" : "none" } },
        );
      }
    }
  };
}

function waitBefore(attempt: number): number {
  return Math.min(FIRST_WAIT_MS * 2 ** (attempt - 2), WAIT_MAX_MS) * (0.5 + Math.random() / 2);
}

/** Of the database, not of the work. */
class FailedStatement extends Error {
  readonly state: string | undefined;
  /** The connection cannot be used any more. */
  readonly isLost: boolean;
  /** The server may have carried out what it was sent. */
  readonly mayBeDone: boolean;

  constructor(cause: unknown, mayBeDone: boolean) {
    super("a statement failed", { cause });
    this.state = sqlState(cause);
    this.isLost = this.state === undefined || this.state.startsWith("08") || AWAY_STATES.has(this.state);
    this.mayBeDone = mayBeDone;
  }
}

/** undefined: it does not come from the server. */
function sqlState(error: unknown): string | undefined {
  if (!(error instanceof Error) || !("severity" in error)) return undefined;
  const code: unknown = Reflect.get(error, "code");
  return typeof code === "string" ? code : undefined;
}

async function runOnce<Result>(
  pool: Pool,
  mode: WorkMode,
  work: DatabaseWork<Result | Undone<Result>>,
): Promise<Result> {
  const client = await pool.connect().catch((cause: unknown) => {
    throw new FailedStatement(cause, false);
  });
  let reusable = false;
  try {
    if (mode === "transaction") await ask(client, "begin isolation level read committed");
    let result: Result | Undone<Result>;
    try {
      result = await perform(client, mode, work);
    } catch (error) {
      const isLost = error instanceof FailedStatement && error.isLost;
      if (mode === "transaction" && !isLost) await ask(client, "rollback");
      reusable = !isLost;
      throw error;
    }
    if (mode === "transaction") await end(client, result instanceof Undone ? "rollback" : "commit");
    reusable = true;
    return result instanceof Undone ? result.result : result;
  } finally {
    client.release(!reusable);
  }
}

async function perform<Result>(
  client: PoolClient,
  mode: WorkMode,
  work: DatabaseWork<Result>,
): Promise<Result> {
  for (let step = work.next(); ; ) {
    if (step.done === true) return step.value;
    const { sql, parameters } = step.value;
    step = work.next(await ask(client, sql, parameters, mode === "statement"));
  }
}

async function end(client: PoolClient, how: "commit" | "rollback"): Promise<void> {
  const { command } = await ask(client, how, [], how === "commit");
  // That is how the server says that a statement before had failed.
  if (how === "commit" && command !== "COMMIT")
    throw new GitwharfError("base/invariant", "a transaction in which a statement failed was committed");
}

async function ask(
  client: PoolClient,
  text: string,
  values: readonly unknown[] = [],
  mayBeDone = false,
): Promise<{ readonly rows: readonly unknown[]; readonly affected: number; readonly command: string }> {
  const config: QueryConfig & { readonly query_timeout: number } = {
    text,
    values: [...values],
    query_timeout: ANSWER_TIMEOUT_MS,
  };
  try {
    const { rows, rowCount, command } = await client.query<Record<string, unknown>>(config);
    return { rows, affected: rowCount ?? 0, command };
  } catch (cause) {
    throw new FailedStatement(cause, mayBeDone);
  }
}
