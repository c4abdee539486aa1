/** A PostgreSQL server of a test file's own, from the run's empty cluster. */
import { inject } from "vitest";
import { startPostgresServer, type TestPostgres } from "./postgres-server.js";

export { SKIP_POSTGRES, type TestPostgres } from "./postgres-server.js";

export function startPostgres(): Promise<TestPostgres> {
  return startPostgresServer({ patterns: inject("runDirectory") });
}
