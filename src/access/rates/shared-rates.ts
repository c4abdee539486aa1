/**
 * Counts that several servers share, in PostgreSQL: a table of its own beside those of users, made when it is missing. Does
 * not keep anybody waiting when the database is away: then each server counts for itself.
 */
import type { Pool } from "pg";
import type { RateLimiterPostgres } from "rate-limiter-flexible";
import { GitwharfError } from "../../base/errors.js";
import { openPostgresPool } from "../../database/postgres-pool.js";
import { rateLimiterPostgres } from "./rate-limiters.js";
import type { Rate } from "./rates.js";

export interface SharedCounter {
  penalty(key: string, points: number): Promise<Count>;
  get(key: string): Promise<Count | null>;
}

interface Count {
  readonly consumedPoints: number;
  readonly msBeforeNext: number;
}

export interface SharedRates {
  counter(name: string, rate: Rate): SharedCounter;
  close(): Promise<void>;
}

const TABLE = "gitwharf_rates";
const CONNECTIONS_MAX = 4;
/** A request waits for it. */
const TIMEOUT_MS = 2000;
/** How long nobody asks a database that did not answer. */
const AWAY_MS = 5000;

export function createSharedRates(connectionString: string): SharedRates {
  let pool: Promise<Pool> | undefined;
  let ready: Promise<void> | undefined;
  const prepared = async (): Promise<Pool> => {
    pool ??= openPostgresPool({
      connectionString,
      max: CONNECTIONS_MAX,
      connectionTimeoutMillis: TIMEOUT_MS,
      query_timeout: TIMEOUT_MS,
      application_name: "gitwharf rates",
    });
    const opened = await pool;
    ready ??= makeTable((sql) => opened.query(sql));
    const mine = ready;
    try {
      await mine;
    } catch (error) {
      // The next request tries again.
      if (ready === mine) ready = undefined;
      throw error;
    }
    return opened;
  };
  let awayUntil = 0;
  const unlessAway = async <T>(work: () => Promise<T>): Promise<T> => {
    if (Date.now() < awayUntil)
      throw new GitwharfError("database/unavailable", "the database that counts requests is away");
    try {
      return await work();
    } catch (error) {
      awayUntil = Date.now() + AWAY_MS;
      throw error;
    }
  };
  return {
    counter(name, { max, seconds }) {
      let limiter: Promise<RateLimiterPostgres> | undefined;
      const ask = async (): Promise<RateLimiterPostgres> => {
        const storeClient = await prepared();
        const Limiter = rateLimiterPostgres();
        limiter ??= Promise.resolve(
          new Limiter({
            storeClient,
            storeType: "pool",
            points: max,
            duration: seconds,
            keyPrefix: name,
            tableName: TABLE,
            tableCreated: true,
            clearExpiredByTimeout: name === "requestsPerAddress",
          }),
        );
        return limiter;
      };
      return {
        penalty: (key, points) => unlessAway(async () => (await ask()).penalty(key, points)),
        get: (key) => unlessAway(async () => (await ask()).get(key)),
      };
    },
    async close() {
      const opened = await pool?.catch(() => undefined);
      await opened?.end();
    },
  };
}

/** The library's own would not hold counts of bytes. Two who make it at once may both be told that it is there. */
async function makeTable(query: (sql: string) => Promise<unknown>): Promise<void> {
  const sql = `create table if not exists ${TABLE} (key text primary key, points bigint not null default 0, expire bigint)`;
  try {
    await query(sql);
  } catch {
    await query(sql);
  }
}
