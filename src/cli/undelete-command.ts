/** `gitwharf undelete WHICH [NAME]`: brings a deleted repository back. */
import { Command } from "commander";
import type { AuditFlags } from "./audited-change.js";
import { changeStored, type ObjectStorageFlags, withChangingStorageOptions } from "./object-storage.js";
import { printDone } from "./print-list.js";

export function undeleteCommand(): Command {
  return withChangingStorageOptions(new Command("undelete"))
    .description("Bring a deleted repository of the object store back.")
    .argument("<which>", "the name that it had, or its id (gitwharf deleted)")
    .argument("[name]", "what it is to be called  [default: as before]")
    .action(async (which: string, name: string | undefined, flags: ObjectStorageFlags & AuditFlags) => {
      const called = await changeStored(
        flags,
        { event: "repository-undelete", repository: name ?? which, details: { which } },
        (store) => store.undelete(which, name),
      );
      printDone(flags, { name: called }, `${called} is back`);
    });
}
