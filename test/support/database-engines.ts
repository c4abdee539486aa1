/** Databases for what is to be the same on SQLite and on PostgreSQL. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll } from "vitest";
import { SKIP_POSTGRES, startPostgres, type TestPostgres } from "./postgres.js";

export interface DatabaseEngine {
  readonly name: "sqlite" | "postgres";
  readonly isSkipped: boolean;
  /** Where a new database is. */
  create(): Promise<string>;
}

/** For a test file, at its top: they are there as long as its tests run. */
export function databaseEngines(): readonly DatabaseEngine[] {
  let directory: string;
  let postgres: TestPostgres | undefined;
  let made = 0;
  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "gitwharf-test-"));
    if (!SKIP_POSTGRES) postgres = await startPostgres();
  });
  afterAll(async () => {
    await postgres?.stop();
    rmSync(directory, { recursive: true, force: true });
  });
  return [
    {
      name: "sqlite",
      isSkipped: false,
      create: async () => `sqlite:${join(directory, `made/${++made}/access.sqlite`)}`,
    },
    {
      name: "postgres",
      isSkipped: SKIP_POSTGRES,
      create: async () => (await postgres?.createDatabase()) ?? "",
    },
  ];
}
