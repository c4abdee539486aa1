/** `gitwharf rename FROM TO`: gives a repository another name, in another namespace if need be. */
import { Command } from "commander";
import type { AuditFlags } from "./audited-change.js";
import { changeStored, type ObjectStorageFlags, withChangingStorageOptions } from "./object-storage.js";
import { printDone } from "./print-list.js";

export function renameCommand(): Command {
  return withChangingStorageOptions(new Command("rename"))
    .description("Give a repository of the object store another name, in another namespace if need be.")
    .argument("<from>", "its name")
    .argument("<to>", "what it is to be called; who may do what is said of names")
    .action(async (from: string, to: string, flags: ObjectStorageFlags & AuditFlags) => {
      await changeStored(flags, { event: "repository-rename", repository: from, details: { to } }, (store) =>
        store.rename(from, to),
      );
      printDone(flags, { from, to }, `${from} is called ${to} now`);
    });
}
