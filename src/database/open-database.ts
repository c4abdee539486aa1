/**
 * The database behind users, keys and tokens, deploys and the object store: SQLite in a file, or PostgreSQL. One schema, one
 * query builder.
 */
import { createHash } from "node:crypto";
import { mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, resolve } from "node:path";
import { setTimeout } from "node:timers/promises";
import type { Kysely, Sql } from "kysely";
import { GitwharfError } from "../base/errors.js";
import { makePrivateFile } from "../base/private-file.js";
import type { RunWork } from "./database-work.js";
import { openPostgresPool } from "./postgres-pool.js";
import { createPostgresRunner } from "./run-postgres.js";
import { createSqliteRunner, isBusy, type LibsqlDatabase } from "./run-sqlite.js";
import type { Schema } from "./schema.js";
import { withLockedWrites } from "./sqlite-writes.js";

export interface Database {
  readonly engine: "sqlite" | "postgres";
  readonly db: Kysely<Schema>;
  /** For statements in SQL. From here, so that who has no database does without the library. */
  readonly sql: Sql;
  /** Several statements as one, and what must be settled when the connection is lost. */
  readonly run: RunWork;
  close(): Promise<void>;
}

export type DatabaseLocation =
  | { readonly engine: "sqlite"; readonly path: string }
  | { readonly engine: "postgres"; readonly url: string };

/** How long one process waits for another that writes. */
const BUSY_TIMEOUT_MS = 5000;
const POSTGRES_CONNECTIONS_MAX = 8;
const POSTGRES_TIMEOUT_MS = 10_000;
/** Less than a statement may take: the locks of a server that has gone are free before who waits for them gives up. */
const POSTGRES_IDLE_TIMEOUT_MS = 5000;

/**
 * `sqlite:PATH`, `postgres://…`
 * @throws server/bad-configuration
 */
export function parseDatabaseLocation(text: string): DatabaseLocation {
  if (/^postgres(?:ql)?:\/\//.test(text)) return { engine: "postgres", url: text };
  const path = /^sqlite:(.+)$/.exec(text)?.[1];
  if (path !== undefined) return { engine: "sqlite", path: resolve(path) };
  throw new GitwharfError(
    "server/bad-configuration",
    "a database is written sqlite:PATH or postgres://USER@HOST/NAME",
  );
}

/**
 * The same for all that mean the same database in the same words. Handlers of pushes can get at it, so that it tells no password.
 * @throws server/bad-configuration
 */
export function databaseName(text: string): string {
  const location = parseDatabaseLocation(text);
  const name = location.engine === "sqlite" ? location.path : location.url;
  return `${location.engine} ${createHash("sha256").update(name).digest("hex")}`;
}

/**
 * Opens it, makes it when it is missing (SQLite), and brings its tables up to date.
 * @param giveUpMs after so long `run` begins nothing again that failed for the lack of a connection. @default 30,000
 * @throws server/bad-configuration, database/unavailable
 */
export async function openDatabase(
  location: DatabaseLocation,
  { giveUpMs }: { readonly giveUpMs?: number } = {},
): Promise<Database> {
  const { engine } = location;
  let opened: Pick<Database, "db" | "run">;
  try {
    opened =
      location.engine === "sqlite"
        ? await openSqlite(location.path)
        : await openPostgres(location.url, giveUpMs);
  } catch (cause) {
    if (cause instanceof GitwharfError) throw cause;
    const what = location.engine === "sqlite" ? location.path : "PostgreSQL";
    throw new GitwharfError(
      "database/unavailable",
      `the database (${what}) cannot be opened: ${cause instanceof Error ? cause.message : String(cause)}`,
      { cause },
    );
  }
  const { sql } = await loadKysely();
  let closed: Promise<void> | undefined;
  return { engine, ...opened, sql, close: () => (closed ??= opened.db.destroy()) };
}

/** Loaded when wanted: commands that have nothing to do with a database should not wait for them. */
const loadKysely = () => import("./kysely.js");
const loadMigrations = () => import("./migrations.js");

type LibsqlConstructor = new (path: string) => LibsqlDatabase;

async function openSqlite(path: string): Promise<Pick<Database, "db" | "run">> {
  const directory = dirname(path);
  mkdirSync(dirname(directory), { recursive: true });
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  // Hashes of passwords are nobody else's to read.
  makePrivateFile(path);
  return retryWhileBusy(() => connectSqlite(path));
}

/** A connection that met another's lock is not used again: libsql may leave its statement unfinished, which no later one survives. */
async function connectSqlite(path: string): Promise<Pick<Database, "db" | "run">> {
  const { Kysely, SqliteDialect } = await loadKysely();
  const { migrate } = await loadMigrations();
  const Libsql = createRequire(import.meta.url)("libsql") as LibsqlConstructor;
  const database = new Libsql(path);
  const db = new Kysely<Schema>({ dialect: new SqliteDialect({ database: withLockedWrites(database) }) });
  try {
    // SQLite would wait with the whole process, and the one it waits for may be this one.
    for (const pragma of [
      "busy_timeout = 0",
      "journal_mode = wal",
      "synchronous = full",
      "foreign_keys = on",
    ])
      database.exec(`pragma ${pragma}`);
    await migrate(db, "sqlite");
    // From here on every write is one statement, or runs without a turn of the event loop.
    database.exec(`pragma busy_timeout = ${BUSY_TIMEOUT_MS}`);
    return { db, run: createSqliteRunner(database, BUSY_TIMEOUT_MS) };
  } catch (error) {
    await db.destroy();
    throw error;
  }
}

async function retryWhileBusy<Result>(work: () => Promise<Result>): Promise<Result> {
  for (let waitedMs = 0; ; ) {
    try {
      return await work();
    } catch (error) {
      if (!isBusy(error) || waitedMs >= BUSY_TIMEOUT_MS) throw error;
    }
    // At random, so that those who wait do not come back together.
    const waitMs = 5 + Math.random() * 20;
    await setTimeout(waitMs);
    waitedMs += waitMs;
  }
}

async function openPostgres(
  connectionString: string,
  giveUpMs: number | undefined,
): Promise<Pick<Database, "db" | "run">> {
  const { Kysely, PostgresDialect } = await loadKysely();
  const { migrate } = await loadMigrations();
  const pool = await openPostgresPool({
    connectionString,
    max: POSTGRES_CONNECTIONS_MAX,
    connectionTimeoutMillis: POSTGRES_TIMEOUT_MS,
    statement_timeout: POSTGRES_TIMEOUT_MS,
    idle_in_transaction_session_timeout: POSTGRES_IDLE_TIMEOUT_MS,
    keepAlive: true,
    application_name: "gitwharf",
  });
  const db = new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) });
  try {
    await migrate(db, "postgres");
    return { db, run: createPostgresRunner(pool, giveUpMs) };
  } catch (error) {
    await db.destroy();
    throw error;
  }
}
