/** `gitwharf restore NAME --generation N | --time T`: makes a repository what it was. */
import { Command } from "commander";
import { GitwharfError } from "../base/errors.js";
import type { AuditFlags } from "./audited-change.js";
import {
  changeStored,
  type ObjectStorageFlags,
  type PointFlags,
  pointOf,
  withChangingStorageOptions,
  withPointOptions,
} from "./object-storage.js";
import { printDone } from "./print-list.js";

export function restoreCommand(): Command {
  return withPointOptions(withChangingStorageOptions(new Command("restore")))
    .description("Make a repository of the object store what it was. What it is now stays in its history.")
    .argument("<name>", "the repository's name")
    .action(async (name: string, flags: ObjectStorageFlags & AuditFlags & PointFlags) => {
      const at = pointOf(flags);
      if (at === undefined)
        throw new GitwharfError("server/bad-configuration", "restore to what? Say --generation or --time");
      const made = await changeStored(
        flags,
        { event: "repository-restore", repository: name, details: { ...at } },
        (store) => store.restore(name, at),
      );
      printDone(
        flags,
        { name, ...made },
        `${name} is as it was in generation ${made.about.restored}: this is generation ${made.generation}`,
      );
    });
}
