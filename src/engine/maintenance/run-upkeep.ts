/** The tasks of looking after a repository, each by its name and with one line that tells what came of it. */
import type { GitwharfError } from "../../base/errors.js";
import type { Repository } from "../../storage/contracts/repository.js";
import { type FoldOutcome, foldPacks } from "./fold-packs.js";
import { packLooseObjects } from "./pack-loose.js";
import { type MultiPackIndexOutcome, refreshMultiPackIndex } from "./refresh-multi-pack-index.js";
import {
  bitmapTipsOf,
  refreshBitmap,
  refreshCommitGraph,
  type SideFileOutcome,
} from "./refresh-side-files.js";
import { sweepGarbage, type SweepOutcome } from "./sweep-garbage.js";
import type { UpkeepTask } from "./upkeep-due.js";

export interface UpkeepResult {
  /** One line, without the repository's name. */
  readonly text: string;
  /** left: others are at work. */
  readonly kind: "done" | "nothing" | "left";
  /** What was found on the way and did not hinder it. */
  readonly damage: readonly GitwharfError[];
}

export interface UpkeepOptions {
  readonly signal?: AbortSignal | undefined;
  /** A multi-pack-index is made afterwards: what it names may be folded. @default false */
  readonly indexes?: boolean;
  /** Unreachable objects wait at least so long, whatever gc.pruneExpire says. @default 0 */
  readonly graceMinMs?: number;
}

/** In a smaller repository loose objects go straight to where they belong. */
const COPIED_OBJECTS_MIN = 20_000;
const BUSY = "another process is at work on the packs (gc.pid), or they are not to be touched;";

/** @throws what the task throws */
export async function runUpkeepTask(
  task: UpkeepTask,
  repository: Repository,
  options: UpkeepOptions = {},
): Promise<UpkeepResult> {
  const result = await carryOut(task, repository, options);
  if (result.kind !== "left")
    await repository.upkeep?.noteRun(task, { atMs: Date.now(), outcome: result.text });
  return result;
}

async function carryOut(
  task: UpkeepTask,
  repository: Repository,
  options: UpkeepOptions,
): Promise<UpkeepResult> {
  switch (task) {
    case "pack-refs":
      return packRefs(repository, options);
    case "loose-objects":
      return packLoose(repository, options);
    case "gc":
      return sweep(repository, options);
    case "fold":
      return fold(repository, options);
    case "multi-pack-index":
      return describeMultiPackIndex(await refreshMultiPackIndex(repository, options));
    case "bitmap":
      return describe("bitmap", await refreshBitmap(repository, options));
    case "commit-graph":
      return describe("commit-graph", await refreshCommitGraph(repository, options));
  }
}

async function packRefs({ refs }: Repository, { signal }: UpkeepOptions): Promise<UpkeepResult> {
  const outcome = (await refs.pack?.({ signal })) ?? { kind: "nothing to do" as const };
  switch (outcome.kind) {
    case "packed": {
      const isTables = ((await refs.counts?.())?.tables ?? 0) > 0;
      return done(isTables ? `took ${outcome.count} reftables together` : `packed ${outcome.count} refs`);
    }
    case "nothing to do":
      return nothing("no refs to pack");
    case "left to others":
      return left("another process is changing packed-refs; no refs were packed");
  }
}

async function packLoose({ upkeep }: Repository, options: UpkeepOptions): Promise<UpkeepResult> {
  if (upkeep === undefined) return nothing("no loose objects to pack");
  const outcome = await packLooseObjects(upkeep, options);
  switch (outcome.kind) {
    case "packed":
      return done(`packed ${outcome.packed} loose objects, ${outcome.written} of which stood in no pack`);
    case "nothing to do":
      return nothing("no loose objects to pack");
    case "left to others":
      return left(`${BUSY} no loose objects were packed`);
  }
}

async function sweep(
  repository: Repository,
  { signal, graceMinMs = 0 }: UpkeepOptions,
): Promise<UpkeepResult> {
  const { upkeep } = repository;
  if (upkeep === undefined) return nothing("garbage is collected by 'gitwharf storage gc'");
  const graceMs = Math.max((await repository.settings()).upkeep.graceMs, graceMinMs);
  // Entries of packs alone can be copied as they are.
  const { packs } = await upkeep.survey();
  if (packs.objects >= COPIED_OBJECTS_MIN) await packLooseObjects(upkeep, { signal });
  return describeSweep(await sweepGarbage(upkeep, { graceMs, signal }));
}

function describeSweep(outcome: SweepOutcome): UpkeepResult {
  switch (outcome.kind) {
    case "swept": {
      const { reachable, unreachable, dropped, packsRemoved, looseRemoved, keptBecause } = outcome;
      const text =
        `${reachable} objects are reachable, ${unreachable} are not and wait, ${dropped} have gone; ` +
        `${packsRemoved} packs and ${looseRemoved} loose objects were taken together`;
      return done(keptBecause === undefined ? text : `${text}; nothing has gone, since ${keptBecause}`);
    }
    case "nothing to do":
      return nothing("there is no garbage, and all objects stand in one pack");
    case "left to others":
      return left(`${BUSY} no garbage was collected`);
    case "impossible":
      return nothing(`no garbage was collected: ${outcome.why}`);
  }
}

async function fold(
  repository: Repository,
  { signal, indexes = false }: UpkeepOptions,
): Promise<UpkeepResult> {
  const { packMaintenance } = repository;
  if (packMaintenance === undefined) return describeFold({ kind: "nothing to do" });
  const { multiPackIndex } = (await repository.settings()).sideFiles;
  const bitmapOf = await bitmapTipsOf(repository);
  return describeFold(
    await foldPacks(packMaintenance, { bitmapOf, listed: indexes && multiPackIndex, signal }),
  );
}

function describeFold(outcome: FoldOutcome): UpkeepResult {
  switch (outcome.kind) {
    case "folded": {
      const text = `folded ${outcome.packCount} packs into one of ${outcome.objectCount} objects`;
      return { kind: "done", text, damage: outcome.damage };
    }
    case "nothing to do":
      return nothing("nothing to fold");
    case "left to others":
      return left(`${BUSY} nothing was folded`);
  }
}

function describe(what: string, outcome: SideFileOutcome): UpkeepResult {
  switch (outcome.kind) {
    case "written":
      return done(
        `wrote a ${what} of ${outcome.commitCount} commits${describeLayers(outcome.layersBelow)}, ${outcome.sizeBytes} bytes`,
      );
    case "nothing to do":
      return nothing(`the ${what} stands well as it is, or there is nothing to make one of`);
    case "left to others":
      return left(`another process is at work (gc.pid, or a lock); no ${what} was written`);
    case "impossible":
      return nothing(`no ${what} was written: ${outcome.why}`);
  }
}

function describeLayers(below = 0): string {
  if (below === 0) return "";
  return ` upon ${below} ${below === 1 ? "layer" : "layers"}`;
}

function describeMultiPackIndex(outcome: MultiPackIndexOutcome): UpkeepResult {
  switch (outcome.kind) {
    case "written": {
      const { bitmap, objectCount, packCount, sizeBytes } = outcome;
      const bitmaps =
        bitmap.kind === "made"
          ? `bitmaps of ${bitmap.commitCount} commits, ${bitmap.sizeBytes} bytes`
          : `no bitmaps: ${bitmap.why}`;
      return done(
        `wrote a multi-pack-index of ${packCount} packs with ${objectCount} objects, ${sizeBytes} bytes; ${bitmaps}`,
      );
    }
    case "removed":
      return done("removed a multi-pack-index whose packs have gone");
    case "nothing to do":
      return nothing("the multi-pack-index stands well as it is, or there are no packs to make one of");
    case "left to others":
      return left("another process is at work (gc.pid, or a lock); no multi-pack-index was written");
    case "impossible":
      return nothing(`no multi-pack-index was written: ${outcome.why}`);
  }
}

function done(text: string): UpkeepResult {
  return { kind: "done", text, damage: [] };
}

function nothing(text: string): UpkeepResult {
  return { kind: "nothing", text, damage: [] };
}

function left(text: string): UpkeepResult {
  return { kind: "left", text, damage: [] };
}
