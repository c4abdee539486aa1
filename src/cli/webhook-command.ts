/** `gitwharf webhook list|deliveries|replay|test`: who is told of events, and what became of it (docs/events.md). */
import { Command, InvalidArgumentError, Option } from "commander";
import {
  createDeliveryStore,
  type DeliveryState,
  type Replay,
  webhookTarget,
} from "../database/delivery-store.js";
import { GitwharfError } from "../base/errors.js";
import type { Webhook } from "../events/webhook.js";
import { AGENT } from "../server/version.js";
import { type DatabaseFlags, withDatabase, withDatabaseOptions } from "./access-database.js";
import { fail } from "./failure.js";
import { printDone, printList, timeText } from "./print-list.js";
import { readConfiguration } from "./serve-command.js";

interface ConfiguredFlags extends DatabaseFlags {
  readonly config: string;
}

interface DeliveriesFlags extends DatabaseFlags {
  readonly state?: DeliveryState;
  readonly max: number;
}

interface ReplayFlags extends DatabaseFlags {
  readonly event?: string;
  readonly dead?: boolean;
  readonly after?: number;
}

const STATES = ["delivered", "failed", "dead", "replay"] as const;

export function webhookCommand(): Command {
  const command = new Command("webhook").description(
    "Who is told of events, and what became of it (see docs/events.md).",
  );
  command.addCommand(
    withDatabaseOptions(new Command("list"))
      .description("List the webhooks of a configuration, with how much they are still to be told.")
      .requiredOption("--config <file>", "the configuration of the server")
      .action(list),
  );
  command.addCommand(
    withDatabaseOptions(new Command("deliveries"))
      .description("List what became of deliveries, the latest events first.")
      .argument("<webhook>", "its name")
      .addOption(new Option("--state <state>", "only these").choices(STATES))
      .option("--max <number>", "at most so many", parseNumber, 100)
      .action(deliveries),
  );
  command.addCommand(
    withDatabaseOptions(new Command("replay"))
      .description("Have deliveries sent once more by the server, within ten seconds.")
      .argument("<webhook>", "its name")
      .option("--event <id>", "the one of this event")
      .option("--dead", "those that were put aside")
      .option("--after <cursor>", "those of all events after this cursor", parseNumber)
      .action(replay),
  );
  command.addCommand(
    withDatabaseOptions(new Command("test"))
      .description("Send a message of type `test` now, from here, and tell what it answered.")
      .argument("<webhook>", "its name")
      .requiredOption("--config <file>", "the configuration of the server")
      .action(test),
  );
  return command;
}

async function list(flags: ConfiguredFlags): Promise<void> {
  const { webhooks, database } = await webhooksOf(flags);
  const rows = await withDatabase(database, async (opened) => {
    const store = createDeliveryStore(opened);
    const found = [];
    for (const { name, url, isActive, target } of webhooks) {
      const pending = (await store.list(webhookTarget(name))).filter(
        ({ event }) => target.takesRepository(event.repository) && target.takes(event),
      );
      const dead = await store.listRecords(webhookTarget(name), { states: ["dead"], max: 1000 });
      found.push({
        name,
        url,
        active: isActive ? "active" : "idle",
        waiting: pending.length,
        dead: dead.length,
      });
    }
    return found;
  });
  printList(rows, { json: flags.json === true, columns: ["name", "active", "waiting", "dead", "url"] });
}

async function deliveries(name: string, flags: DeliveriesFlags): Promise<void> {
  const rows = await withDatabase(flags, (opened) =>
    createDeliveryStore(opened).listRecords(webhookTarget(name), {
      max: flags.max,
      ...(flags.state === undefined ? {} : { states: [flags.state] }),
    }),
  );
  printList(
    rows.map(({ target: _target, at, ...row }) => ({ ...row, at: timeText(at) })),
    {
      json: flags.json === true,
      columns: ["cursor", "eventId", "repository", "state", "attempts", "status", "at", "why"],
    },
  );
}

async function replay(name: string, flags: ReplayFlags): Promise<void> {
  const which = whichOf(flags);
  const count = await withDatabase(flags, (opened) =>
    createDeliveryStore(opened).replay(webhookTarget(name), which),
  );
  if (count === 0) fail(`there is no such delivery of the webhook ${name}`);
  else
    printDone(flags, { count }, `${count} ${count === 1 ? "delivery is" : "deliveries are"} sent once more`);
}

/** @throws server/bad-configuration */
function whichOf({ event, dead, after }: ReplayFlags): Replay {
  const given: Replay[] = [
    ...(event === undefined ? [] : [{ eventId: event }]),
    ...(dead === true ? [{ state: "dead" } as const] : []),
    ...(after === undefined ? [] : [{ after }]),
  ];
  const [one] = given;
  if (one === undefined || given.length > 1)
    throw new GitwharfError("server/bad-configuration", "say one of --event, --dead and --after");
  return one;
}

async function test(name: string, flags: ConfiguredFlags): Promise<void> {
  const { webhooks } = await webhooksOf(flags);
  const webhook = webhooks.find((one) => one.name === name);
  if (webhook === undefined) return fail(`there is no webhook ${name} in ${flags.config}`);
  try {
    const status = await webhook.test();
    printDone(flags, { status }, `${name} answered with status ${status}`);
  } catch (error) {
    fail(`${name} did not take it: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** With the database that the configuration names, where the command line names none. */
async function webhooksOf(
  flags: ConfiguredFlags,
): Promise<{ readonly webhooks: readonly Webhook[]; readonly database: DatabaseFlags }> {
  const { webhooks, database, repositories } = await readConfiguration(flags.config);
  const location = flags.database ?? database;
  const { createWebhooks } = await import("../events/webhook.js");
  return {
    webhooks: createWebhooks(webhooks, AGENT),
    database: {
      ...flags,
      ...(typeof repositories === "string" && flags.directory === "./repositories"
        ? { directory: repositories }
        : {}),
      ...(location === undefined ? {} : { database: location }),
    },
  };
}

function parseNumber(text: string): number {
  if (!/^[0-9]{1,15}$/.test(text)) throw new InvalidArgumentError("it is a whole number from 0 up");
  return Number(text);
}
