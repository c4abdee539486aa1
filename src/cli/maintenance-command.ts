/** `gitwharf maintenance run NAME`: what a server does for a repository in the background, and more, now and whatever its size. */
import { Command, InvalidArgumentError } from "commander";
import type { FoldOutcome } from "../engine/maintenance/fold-packs.js";
import type { MultiPackIndexOutcome } from "../engine/maintenance/refresh-multi-pack-index.js";
import type { SideFileOutcome } from "../engine/maintenance/refresh-side-files.js";
import { parseRepositoryName } from "../storage/contracts/repository-name.js";
import type { Repository } from "../storage/contracts/repository.js";
import { type AnyStorageFlags, mustOpen, withAnyStorage, withAnyStorageOptions } from "./any-storage.js";

const TASKS = ["fold", "multi-pack-index", "bitmap", "commit-graph"] as const;
type Task = (typeof TASKS)[number];

interface Flags extends AnyStorageFlags {
  readonly task?: readonly Task[];
}

export function maintenanceCommand(): Command {
  const run = withAnyStorageOptions(new Command("run"))
    .exitOverride()
    .showHelpAfterError("(gitwharf maintenance run --help explains)")
    .description(
      "Fold the small packs of a repository into one, and make its multi-pack-index, its bitmaps and its commit-graph. Safe while it is served.",
    )
    .argument("<name>", "the repository's name")
    .option("--task <task>", `only this one of ${TASKS.join(", ")}; may be given several times`, addTask)
    .action(async (text: string, flags: Flags) => {
      const name = parseRepositoryName(text);
      await withAnyStorage(flags, async (store) => {
        const repository = await mustOpen(store, name, flags);
        try {
          const tasks = TASKS.filter((task) => flags.task?.includes(task) ?? true);
          for (const task of tasks) console.log(`${name}: ${await carryOut(task, repository, tasks)}`);
        } finally {
          await repository.close();
        }
      });
    });
  return new Command("maintenance").description("Look after a repository.").addCommand(run);
}

function addTask(text: string, before: readonly Task[] = []): readonly Task[] {
  const task = TASKS.find((each) => each === text);
  if (task === undefined) throw new InvalidArgumentError(`It is one of ${TASKS.join(", ")}.`);
  return [...before, task];
}

/** @returns what is printed */
async function carryOut(task: Task, repository: Repository, tasks: readonly Task[]): Promise<string> {
  const { refreshBitmap, refreshCommitGraph } = await import("../engine/maintenance/refresh-side-files.js");
  const { refreshMultiPackIndex } = await import("../engine/maintenance/refresh-multi-pack-index.js");
  switch (task) {
    case "fold":
      return describeFold(await fold(repository, tasks.includes("multi-pack-index")));
    case "multi-pack-index":
      return describeMultiPackIndex(await refreshMultiPackIndex(repository));
    case "bitmap":
      return describe("bitmap", await refreshBitmap(repository));
    case "commit-graph":
      return describe("commit-graph", await refreshCommitGraph(repository));
  }
}

/** @param indexes whether a multi-pack-index is made afterwards */
async function fold(repository: Repository, indexes: boolean): Promise<FoldOutcome> {
  const { foldPacks } = await import("../engine/maintenance/fold-packs.js");
  const { bitmapTipsOf } = await import("../engine/maintenance/refresh-side-files.js");
  const { packMaintenance } = repository;
  if (packMaintenance === undefined) return { kind: "nothing to do" };
  const { multiPackIndex } = (await repository.settings()).sideFiles;
  const outcome = await foldPacks(packMaintenance, {
    bitmapOf: await bitmapTipsOf(repository),
    listed: indexes && multiPackIndex,
  });
  if (outcome.kind !== "folded" || outcome.damage.length === 0) return outcome;
  for (const { message } of outcome.damage) console.error(`gitwharf: ${message}`);
  process.exitCode = 1;
  return outcome;
}

function describeFold(outcome: FoldOutcome): string {
  switch (outcome.kind) {
    case "folded":
      return `folded ${outcome.packCount} packs into one of ${outcome.objectCount} objects`;
    case "nothing to do":
      return "nothing to fold";
    case "left to others":
      return "another process is at work on the packs (gc.pid), or they are not to be touched; nothing was folded";
  }
}

function describeMultiPackIndex(outcome: MultiPackIndexOutcome): string {
  switch (outcome.kind) {
    case "written": {
      const { bitmap, objectCount, packCount, sizeBytes } = outcome;
      const bitmaps =
        bitmap.kind === "made"
          ? `bitmaps of ${bitmap.commitCount} commits, ${bitmap.sizeBytes} bytes`
          : `no bitmaps: ${bitmap.why}`;
      return `wrote a multi-pack-index of ${packCount} packs with ${objectCount} objects, ${sizeBytes} bytes; ${bitmaps}`;
    }
    case "removed":
      return "removed a multi-pack-index whose packs have gone";
    case "nothing to do":
      return "the multi-pack-index stands well as it is, or there are no packs to make one of";
    case "left to others":
      return "another process is at work (gc.pid, or a lock); no multi-pack-index was written";
    case "impossible":
      return `no multi-pack-index was written: ${outcome.why}`;
  }
}

function describe(what: string, outcome: SideFileOutcome): string {
  switch (outcome.kind) {
    case "written":
      return `wrote a ${what} of ${outcome.commitCount} commits${describeLayers(outcome.layersBelow)}, ${outcome.sizeBytes} bytes`;
    case "nothing to do":
      return `the ${what} stands well as it is, or there is nothing to make one of`;
    case "left to others":
      return `another process is at work (gc.pid, or a lock); no ${what} was written`;
    case "impossible":
      return `no ${what} was written: ${outcome.why}`;
  }
}

function describeLayers(below = 0): string {
  if (below === 0) return "";
  return ` upon ${below} ${below === 1 ? "layer" : "layers"}`;
}
