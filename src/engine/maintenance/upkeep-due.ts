/**
 * What is worth doing for a repository now, and why, from how it stands: often enough that requests find most of what they want
 * together, and seldom enough that all of it together writes no more than a few times what was pushed.
 */
import type { RepositorySettings } from "../../storage/contracts/repository-settings.js";
import type { UpkeepSurvey } from "../../storage/contracts/upkeep.js";

/** In the order in which they are done. */
export const UPKEEP_TASKS = [
  "pack-refs",
  "loose-objects",
  "gc",
  "fold",
  "multi-pack-index",
  "bitmap",
  "commit-graph",
] as const;
export type UpkeepTask = (typeof UPKEEP_TASKS)[number];

export interface DueTask {
  readonly task: UpkeepTask;
  /** For people. */
  readonly why: string;
}

export type DueSettings = Pick<RepositorySettings, "gc" | "upkeep" | "sideFiles"> & {
  readonly receive: Pick<RepositorySettings["receive"], "autoGc">;
};

const HOUR_MS = 60 * 60 * 1000;
const DAY_MS = 24 * HOUR_MS;
/** More refs in files of their own than this, and than a hundredth of the others. */
const LOOSE_REFS_MAX = 64;
/** Of all bytes so many came after the last sweep. */
const DRIFT_MIN = 1 / 3;
const NEW_BYTES_MIN = 16 * 1024 * 1024;
/** A repository that is larger is swept when somebody asks for it. */
const SWEPT_BYTES_MAX = 4 * 1024 * 1024 * 1024;
/** The same: a sweep takes up to 2 KiB of memory for each. */
const SWEPT_OBJECTS_MAX = 1_000_000;
/** Smaller packs are walked through as quickly as a bitmap could be read. */
const BITMAP_OBJECTS_MIN = 2000;
/** Objects that came after the commit-graph: these, and a twentieth of all. */
const GRAPH_OBJECTS_MIN = 2000;

/** @param foldable packs that may be folded */
export function dueTasks(survey: UpkeepSurvey, settings: DueSettings, foldable: number): DueTask[] {
  const { gc } = settings;
  if (!settings.receive.autoGc || gc.auto <= 0) return [];
  const reasons: Record<UpkeepTask, string | undefined> = {
    "pack-refs": settings.upkeep.packRefs ? looseRefs(survey) : undefined,
    "loose-objects":
      survey.looseObjects.count > gc.auto
        ? `about ${survey.looseObjects.count} loose objects, more than gc.auto (${gc.auto})`
        : undefined,
    gc: garbage(survey, settings.upkeep.graceMs),
    fold:
      gc.autoPackLimit > 0 && foldable > gc.autoPackLimit
        ? `${foldable} packs, more than gc.autoPackLimit (${gc.autoPackLimit})`
        : undefined,
    // For who asks: packs that it names are not folded by a server.
    "multi-pack-index": undefined,
    bitmap: settings.sideFiles.bitmap ? bitmap(survey) : undefined,
    "commit-graph": settings.sideFiles.commitGraph ? commitGraph(survey) : undefined,
  };
  return UPKEEP_TASKS.flatMap((task) => {
    const why = reasons[task];
    return why === undefined ? [] : [{ task, why }];
  });
}

function looseRefs({ refs }: UpkeepSurvey): string | undefined {
  return refs.loose > LOOSE_REFS_MAX + refs.packed / 100
    ? `${refs.loose} refs in files of their own`
    : undefined;
}

function garbage(survey: UpkeepSurvey, graceMs: number): string | undefined {
  const { nowMs, packs } = survey;
  if (isRecent(survey, "gc", DAY_MS) || packs.bytes > SWEPT_BYTES_MAX) return undefined;
  if (packs.objects > SWEPT_OBJECTS_MAX) return undefined;
  const { oldestMs } = packs.cruft;
  if (oldestMs !== undefined && oldestMs + graceMs <= nowMs)
    return "unreachable objects have waited long enough";
  const { newBytes } = packs;
  return newBytes >= NEW_BYTES_MIN && newBytes >= packs.bytes * DRIFT_MIN
    ? `${newBytes} bytes in packs that came after the last one`
    : undefined;
}

function bitmap(survey: UpkeepSurvey): string | undefined {
  const { largest } = survey.packs;
  if (survey.bitmapMs !== undefined || largest === undefined || isRecent(survey, "bitmap", HOUR_MS))
    return undefined;
  return largest.objects >= BITMAP_OBJECTS_MIN ? "no pack has one" : undefined;
}

function commitGraph(survey: UpkeepSurvey): string | undefined {
  const { objectsSinceGraph, objects } = survey.packs;
  if (isRecent(survey, "commit-graph", HOUR_MS)) return undefined;
  return objectsSinceGraph >= Math.max(GRAPH_OBJECTS_MIN, objects / 20)
    ? `${objectsSinceGraph} objects in packs that came after it`
    : undefined;
}

function isRecent({ nowMs, runs }: UpkeepSurvey, task: UpkeepTask, withinMs: number): boolean {
  const run = runs.get(task);
  return run !== undefined && run.atMs <= nowMs && nowMs - run.atMs < withinMs;
}
