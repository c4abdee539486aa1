/** `gitwharf fork PARENT NAME`: another repository that is as this one is now. Nothing is copied. */
import { Command } from "commander";
import type { AuditFlags } from "./audited-change.js";
import { changeStored, type ObjectStorageFlags, withChangingStorageOptions } from "./object-storage.js";
import { printDone } from "./print-list.js";

export function forkCommand(): Command {
  return withChangingStorageOptions(new Command("fork"))
    .description("Make a repository of the object store that is as another one is now. Nothing is copied.")
    .argument("<parent>", "the repository that is there")
    .argument("<name>", "the one to be made")
    .action(async (parent: string, name: string, flags: ObjectStorageFlags & AuditFlags) => {
      await changeStored(
        flags,
        { event: "repository-fork", repository: name, details: { parent } },
        async (store) => (await store.fork(parent, name)).close(),
      );
      printDone(flags, { name, parent }, `${name} is a fork of ${parent}`);
    });
}
