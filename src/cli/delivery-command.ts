/** `gitwharf delivery list|remove`: what a Gitorious application is still to be told of pushes (docs/gitorious.md). */
import { Command } from "commander";
import { createDeliveryStore } from "../database/delivery-store.js";
import { type DatabaseFlags, withDatabase, withDatabaseOptions } from "./access-database.js";
import { fail } from "./failure.js";
import { printDone, printList, timeText } from "./print-list.js";

export function deliveryCommand(): Command {
  const command = new Command("delivery").description(
    "What a Gitorious application is still to be told of pushes, in order.",
  );
  command.addCommand(
    withDatabaseOptions(new Command("list"))
      .description("List it; the first of each repository comes next.")
      .action(async (flags: DatabaseFlags) => {
        const rows = await withDatabase(flags, (database) => createDeliveryStore(database).list());
        printList(
          rows.map(({ createdAt, notBefore, ...row }) => ({
            ...row,
            hasMoved: row.hasMoved ? "moved" : "unsettled",
            createdAt: timeText(createdAt),
            notBefore: notBefore === 0 ? undefined : timeText(notBefore),
          })),
          {
            json: flags.json === true,
            columns: ["id", "repository", "refName", "hasMoved", "attempts", "notBefore", "createdAt"],
          },
        );
      }),
  );
  command.addCommand(
    withDatabaseOptions(new Command("remove"))
      .description("Never tell of one: the application will not know of that move.")
      .argument("<id>")
      .action(async (id: string, flags: DatabaseFlags) => {
        const found = await withDatabase(flags, async (database) => {
          const store = createDeliveryStore(database);
          const one = (await store.list()).find((row) => row.id === id);
          if (one !== undefined) await store.remove({ id });
          return one;
        });
        if (found === undefined) fail(`there is no delivery ${id}`);
        else
          printDone(flags, { id }, `the application is not told of ${found.refName} in ${found.repository}`);
      }),
  );
  return command;
}
