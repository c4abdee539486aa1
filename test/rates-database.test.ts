/** Servers that count together, in PostgreSQL. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createRateLimits, type RateLimits } from "../src/access/rates/rate-limits.js";
import type { RateOptions } from "../src/access/rates/rates.js";
import { SKIP_POSTGRES, startPostgres, type TestPostgres } from "./support/postgres.js";

const HOUR = 3600;
const TIB = 1024 ** 4;

describe.skipIf(SKIP_POSTGRES)("rates in the database", () => {
  let postgres: TestPostgres;
  beforeAll(async () => {
    postgres = await startPostgres();
  });
  afterAll(() => postgres.stop());

  function limits(database: string, rates: RateOptions, failures: unknown[] = []): RateLimits {
    return createRateLimits({
      rates: { ...rates, store: "database" },
      database,
      onFailure: (error) => void failures.push(error),
      isOpen: () => false,
      identify: async () => ({ user: "ada" }),
    });
  }

  it("are those of all servers together, whichever begins", async () => {
    const database = await postgres.createDatabase();
    const rates = { requestsPerAddress: { max: 4, seconds: HOUR } };
    const servers = [limits(database, rates), limits(database, rates)];
    await Promise.all([...servers, ...servers].map((one) => one.admitAddress("192.0.2.7")));
    for (const one of servers)
      await expect(one.admitAddress("192.0.2.7")).rejects.toMatchObject({ code: "access/too-many-requests" });
    for (const one of servers) await one.admitAddress("192.0.2.8");
    for (const one of servers) await one.close();
  });

  it("hold as many bytes as there are", async () => {
    const one = limits(await postgres.createDatabase(), {
      bytesPerAddress: { max: Infinity, seconds: HOUR },
      bytesPerUser: { max: 3 * TIB, seconds: HOUR },
    });
    const caller = { address: "192.0.2.7", identity: { user: "ada" } };
    for (let i = 0; i < 2; i++) await one.countBytes(caller, TIB);
    await one.admitService(caller, { push: false, discovery: true });
    await one.countBytes(caller, TIB);
    await expect(one.admitService(caller, { push: false, discovery: true })).rejects.toThrow(
      /too many bytes/,
    );
    await one.close();
  });

  it("are counted here while the database is away", async () => {
    const failures: unknown[] = [];
    const away = "postgres://nobody@127.0.0.1:1/nothing";
    const one = limits(away, { requestsPerAddress: { max: 1, seconds: HOUR } }, failures);
    await one.admitAddress("192.0.2.7");
    await expect(one.admitAddress("192.0.2.7")).rejects.toThrow(/too many requests/);
    expect(failures.length).toBeGreaterThan(0);
    await one.close();
  });
});

describe("rates in a database that is not PostgreSQL", () => {
  it.each([undefined, "sqlite:/nonexistent/x.sqlite"])("are refused: %s", (database) => {
    const make = (): RateLimits =>
      createRateLimits({
        rates: { store: "database" },
        database,
        isOpen: () => false,
        identify: async () => ({ user: undefined }),
      });
    expect(make).toThrow(/needs a `database` on PostgreSQL/);
  });
});
