/** `gitwharf deleted`: the repositories that can be brought back. */
import { Command } from "commander";
import { type ObjectStorageFlags, withObjectStorage, withStorageOptions } from "./object-storage.js";
import { printList, timeText } from "./print-list.js";

export function deletedCommand(): Command {
  return withStorageOptions(new Command("deleted"))
    .description("List the repositories of the object store that were deleted and can be brought back.")
    .action(async (flags: ObjectStorageFlags) => {
      const deleted = await withObjectStorage(flags, async (store) => {
        const rows = [];
        for await (const row of store.listDeleted())
          rows.push({ ...row, deleted: timeText(row.deletedAtMs) });
        return rows;
      });
      printList(deleted, { json: flags.json === true, columns: ["id", "deleted", "formerName"] });
    });
}
