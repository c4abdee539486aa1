/** Which database the commands for users, keys and tokens mean, and their common options. */
import { join, resolve } from "node:path";
import { type Command, Option } from "commander";
import { type AccessStore, createAccessStore } from "../database/access-store.js";
import { openDatabase, parseDatabaseLocation } from "../database/open-database.js";

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

export async function withAccessStore<T>(
  flags: DatabaseFlags,
  use: (store: AccessStore) => Promise<T>,
): Promise<T> {
  const database = await openDatabase(
    parseDatabaseLocation(flags.database ?? defaultDatabase(flags.directory)),
  );
  try {
    return await use(createAccessStore(database));
  } finally {
    await database.close();
  }
}
