/** Which database the commands for users, keys and tokens mean, and their common options. */
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { type Command, Option } from "commander";
import { GitwharfError } from "../base/errors.js";
import { type AccessStore, createAccessStore } from "../database/access-store.js";
import { type Database, openDatabase, parseDatabaseLocation } from "../database/open-database.js";

export interface DatabaseFlags {
  readonly directory: string;
  readonly database?: string;
  readonly json?: boolean;
}

/** Beside the repositories. No repository can be called so. */
export function defaultDatabase(directory: string): string {
  return `sqlite:${join(resolve(directory), ".gitwharf", "access.sqlite")}`;
}

export function withDatabaseOptions(command: Command): Command {
  return command
    .option("-d, --directory <directory>", "where the repositories are", "./repositories")
    .addOption(
      new Option(
        "--database <location>",
        "sqlite:PATH or postgres://…  [default: .gitwharf/access.sqlite in the directory]",
      ).env("GITWHARF_DATABASE"),
    )
    .option("--json", "print JSON");
}

/** @throws as `withDatabase` */
export function withAccessStore<T>(
  flags: DatabaseFlags,
  use: (store: AccessStore) => Promise<T>,
  options: { readonly makes?: boolean } = {},
): Promise<T> {
  return withDatabase(flags, (database) => use(createAccessStore(database)), options);
}

/**
 * @param options.makes the command that begins a database: in a wrong directory, the others are not to make one
 * @throws server/bad-configuration, database/unavailable
 */
export async function withDatabase<T>(
  flags: DatabaseFlags,
  use: (database: Database) => Promise<T>,
  options: { readonly makes?: boolean } = {},
): Promise<T> {
  const location = parseDatabaseLocation(flags.database ?? defaultDatabase(flags.directory));
  if (location.engine === "sqlite" && !existsSync(location.path)) {
    if (options.makes !== true) {
      throw new GitwharfError(
        "database/unavailable",
        `there is no database ${location.path}; \`gitwharf user add\` makes it, --directory and --database name another`,
      );
    }
    process.stderr.write(`making the database ${location.path}\n`);
  }
  const database = await openDatabase(location);
  try {
    return await use(database);
  } finally {
    await database.close();
  }
}
