/**
 * Kysely, in its build for CommonJS: its more than two hundred files load in half the time that the ECMAScript modules take. To be
 * loaded when it is wanted: commands that have nothing to do with a database should not wait for it.
 */
import { createRequire } from "node:module";
import type * as library from "kysely";

export const { Kysely, PostgresDialect, sql, SqliteDialect } = createRequire(import.meta.url)(
  "kysely",
) as typeof library;
