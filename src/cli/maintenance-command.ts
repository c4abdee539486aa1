/**
 * `gitwharf maintenance run`: what a server does for a repository in the background, and more, now and whatever its size.
 * `gitwharf maintenance status`: how a repository stands, what is due and why.
 */
import { Command, InvalidArgumentError } from "commander";
import { isGitwharfError } from "../base/errors.js";
import { UPKEEP_TASKS, type UpkeepTask } from "../engine/maintenance/upkeep-due.js";
import { parseRepositoryName } from "../storage/contracts/repository-name.js";
import type { Repository, RepositoryStore } from "../storage/contracts/repository.js";
import { type AnyStorageFlags, mustOpen, withAnyStorage, withAnyStorageOptions } from "./any-storage.js";

/** Of any storage. */
const FOR_ALL: readonly UpkeepTask[] = ["fold", "multi-pack-index", "bitmap", "commit-graph"];

interface RunFlags extends AnyStorageFlags {
  readonly task?: readonly UpkeepTask[];
  readonly all?: boolean;
}

interface StatusFlags extends AnyStorageFlags {
  readonly json?: boolean;
}

export function maintenanceCommand(): Command {
  const run = withAnyStorageOptions(new Command("run"))
    .exitOverride()
    .showHelpAfterError("(gitwharf maintenance run --help explains)")
    .description(
      "Fold the small packs of a repository into one, pack its loose objects and refs, and make its multi-pack-index, its " +
        "bitmaps and its commit-graph; collect its garbage when that is due, or asked for. Safe while it is served.",
    )
    .argument("[name]", "the repository's name")
    .option("--all", "all repositories, and of each task only what is due")
    .option(
      "--task <task>",
      `only this one of ${UPKEEP_TASKS.join(", ")}; may be given several times`,
      addTask,
    )
    .action(async (text: string | undefined, flags: RunFlags, command: Command) => {
      if ((text === undefined) === (flags.all !== true))
        command.error("error: it takes the name of a repository, or --all", { exitCode: 2 });
      await withAnyStorage(flags, async (store) => {
        for await (const name of namesOf(store, text)) {
          try {
            await runFor(store, name, flags);
          } catch (error) {
            // One that is damaged does not keep the others from being looked after.
            if (flags.all !== true || !isGitwharfError(error)) throw error;
            console.error(`gitwharf: ${name}: ${error.message}`);
            process.exitCode = 1;
          }
        }
      });
    });
  const status = withAnyStorageOptions(new Command("status"))
    .exitOverride()
    .showHelpAfterError("(gitwharf maintenance status --help explains)")
    .description("Tell how repositories stand, what was last done for them, and what is due and why.")
    .argument("[name]", "the repository's name  [default: all]")
    .option("--json", "a line of JSON for each")
    .action(async (text: string | undefined, flags: StatusFlags) => {
      const { describeStatus, statusOf } = await import("./maintenance-status.js");
      await withAnyStorage(flags, async (store) => {
        for await (const name of namesOf(store, text)) {
          const repository = await mustOpen(store, name, flags);
          try {
            const found = await statusOf(repository);
            console.log(flags.json === true ? JSON.stringify(found) : describeStatus(found));
          } finally {
            await repository.close();
          }
        }
      });
    });
  return new Command("maintenance")
    .description("Look after repositories.")
    .addCommand(run)
    .addCommand(status);
}

async function runFor(store: RepositoryStore, name: string, flags: RunFlags): Promise<void> {
  const repository = await mustOpen(store, name, flags);
  try {
    await runTasks(repository, { onlyDue: flags.all === true, tasks: flags.task });
  } finally {
    await repository.close();
  }
}

async function* namesOf(store: RepositoryStore, text: string | undefined): AsyncIterable<string> {
  if (text === undefined) yield* store.list();
  else yield parseRepositoryName(text);
}

function addTask(text: string, before: readonly UpkeepTask[] = []): readonly UpkeepTask[] {
  const task = UPKEEP_TASKS.find((each) => each === text);
  if (task === undefined) throw new InvalidArgumentError(`It is one of ${UPKEEP_TASKS.join(", ")}.`);
  return [...before, task];
}

async function runTasks(
  repository: Repository,
  options: { readonly onlyDue: boolean; readonly tasks: readonly UpkeepTask[] | undefined },
): Promise<void> {
  const { runUpkeepTask } = await import("../engine/maintenance/run-upkeep.js");
  const { statusOf } = await import("./maintenance-status.js");
  const { name } = repository;
  for (const task of UPKEEP_TASKS) {
    if (options.tasks?.includes(task) === false) continue;
    const isAsked = options.tasks !== undefined;
    // The rest costs little where there is nothing to do.
    if (options.onlyDue || (task === "gc" && !isAsked)) {
      const { due } = await statusOf(repository);
      if (!due.some((each) => each.task === task)) continue;
    }
    const isForFiles = repository.upkeep !== undefined || FOR_ALL.includes(task);
    if (!isForFiles && !isAsked) continue;
    const indexes = options.tasks?.includes("multi-pack-index") ?? !options.onlyDue;
    const { text, damage } = await runUpkeepTask(task, repository, { indexes });
    console.log(`${name}: ${text}`);
    for (const { message } of damage) {
      console.error(`gitwharf: ${message}`);
      process.exitCode = 1;
    }
  }
}
