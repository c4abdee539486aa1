/** `gitwharf delivery list|remove`: what a Gitorious application is still to be told of pushes (docs/gitorious.md). */
import { Command } from "commander";
import { createDeliveryStore, GITORIOUS_TARGET } from "../database/delivery-store.js";
import { createEventStore, isTold } from "../database/event-store.js";
import type { Database } from "../database/open-database.js";
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
        const rows = await withDatabase(flags, listPending);
        printList(
          rows.map(({ event, attempts, notBefore }) => ({
            id: event.id,
            repository: event.repository,
            refName: event.refName,
            oldOid: event.oldOid,
            newOid: event.newOid,
            user: event.user,
            hasMoved: event.hasMoved ? "moved" : "unsettled",
            attempts,
            notBefore: notBefore === 0 ? undefined : timeText(notBefore),
            createdAt: timeText(event.createdAt),
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
          const one = (await listPending(database)).find(({ event }) => event.id === id)?.event;
          if (one !== undefined && isTold(one))
            await createDeliveryStore(database).skip(GITORIOUS_TARGET, one);
          return one;
        });
        if (found === undefined) fail(`there is no delivery ${id}`);
        else if (!isTold(found))
          fail(`it is not known yet whether ${found.refName} in ${found.repository} has moved; try again`);
        else
          printDone(flags, { id }, `the application is not told of ${found.refName} in ${found.repository}`);
      }),
  );
  return command;
}

async function listPending(database: Database) {
  const pending = await createDeliveryStore(database).list(GITORIOUS_TARGET);
  const untold = await createEventStore(database).listUntold();
  return [...pending, ...untold.map((event) => ({ event, attempts: 0, notBefore: 0 }))];
}
