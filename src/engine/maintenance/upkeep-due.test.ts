/** What is due when. */
import { describe, expect, it } from "vitest";
import { DEFAULT_REPOSITORY_SETTINGS } from "../../storage/repository-settings-defaults.js";
import type { UpkeepSurvey } from "../../storage/contracts/upkeep.js";
import { dueTasks, type UpkeepTask } from "./upkeep-due.js";

const NOW = 1_700_000_000_000;
const DAY_MS = 24 * 60 * 60 * 1000;
const MIB = 1024 * 1024;
const CALM: UpkeepSurvey = {
  nowMs: NOW,
  packs: {
    count: 1,
    objects: 10_000,
    bytes: 100 * MIB,
    kept: 0,
    cruft: { count: 0, objects: 0, bytes: 0, oldestMs: undefined },
    newBytes: 0,
    objectsSinceGraph: 0,
    largest: { name: "pack-1", objects: 10_000, hasBitmap: true },
    broken: new Map(),
  },
  looseObjects: { count: 0, isExact: false },
  refs: { loose: 3, packed: 100 },
  bitmapMs: NOW - DAY_MS,
  commitGraphMs: NOW - DAY_MS,
  multiPackIndexMs: undefined,
  alternates: 0,
  runs: new Map(),
  heldBy: undefined,
};
const waiting = (days: number): UpkeepSurvey["packs"]["cruft"] => ({
  count: 1,
  objects: 1,
  bytes: 1,
  oldestMs: NOW - days * DAY_MS,
});
const packs = (change: Partial<UpkeepSurvey["packs"]>): Partial<UpkeepSurvey> => ({
  packs: { ...CALM.packs, ...change },
});
const ran = (task: UpkeepTask, agoMs: number): Partial<UpkeepSurvey> => ({
  runs: new Map([[task, { atMs: NOW - agoMs, outcome: "done" }]]),
});
const due = (
  change: Partial<UpkeepSurvey>,
  settings: Partial<typeof DEFAULT_REPOSITORY_SETTINGS> = {},
  foldable = 0,
): UpkeepTask[] =>
  dueTasks({ ...CALM, ...change }, { ...DEFAULT_REPOSITORY_SETTINGS, ...settings }, foldable).map(
    ({ task }) => task,
  );

describe("what is due", () => {
  it.each<[string, Partial<UpkeepSurvey>, readonly UpkeepTask[]]>([
    ["nothing of a repository that stands well", {}, []],
    ["no packing of 65 refs beside 100", { refs: { loose: 65, packed: 100 } }, []],
    ["the packing of 66 refs beside 100", { refs: { loose: 66, packed: 100 } }, ["pack-refs"]],
    ["no packing of 9,000 refs beside a million", { refs: { loose: 9000, packed: 1_000_000 } }, []],
    ["nothing of reftables", { refs: { loose: 0, packed: 1000, tables: 9 } }, []],
    ["no packing of 6,700 loose objects", { looseObjects: { count: 6700, isExact: true } }, []],
    ["the packing of 6,701", { looseObjects: { count: 6701, isExact: true } }, ["loose-objects"]],
    ["no sweep of what waits for 13 days", packs({ cruft: waiting(13) }), []],
    ["one of what waits for 14", packs({ cruft: waiting(14) }), ["gc"]],
    ["none within a day of the last", { ...packs({ cruft: waiting(20) }), ...ran("gc", DAY_MS - 1) }, []],
    ["one a day after the last", { ...packs({ cruft: waiting(20) }), ...ran("gc", DAY_MS) }, ["gc"]],
    ["no sweep for less than a third", packs({ newBytes: 33 * MIB }), []],
    ["one for a third", packs({ newBytes: 34 * MIB }), ["gc"]],
    ["none for less than 16 MiB", packs({ newBytes: 15 * MIB, bytes: 15 * MIB }), []],
    ["none of more than 4 GiB", packs({ newBytes: 5000 * MIB, bytes: 5000 * MIB }), []],
    ["none of more than a million objects", packs({ cruft: waiting(20), objects: 1_000_001 }), []],
    ["a bitmap where there is none", { bitmapMs: undefined }, ["bitmap"]],
    ["none within an hour of the last", { bitmapMs: undefined, ...ran("bitmap", 1000) }, []],
    [
      "none for few objects",
      { bitmapMs: undefined, ...packs({ largest: { name: "pack-1", objects: 1999, hasBitmap: false } }) },
      [],
    ],
    ["no commit-graph for 1,999 objects", packs({ objectsSinceGraph: 1999 }), []],
    ["one for 2,000", packs({ objectsSinceGraph: 2000 }), ["commit-graph"]],
    ["none for less than a twentieth", packs({ objectsSinceGraph: 2000, objects: 50_000 }), []],
    [
      "none within an hour of the last",
      { ...packs({ objectsSinceGraph: 2000 }), ...ran("commit-graph", 1000) },
      [],
    ],
  ])("is %s", (_, change, expected) => {
    expect(due(change)).toEqual(expected);
  });

  it("is folding above gc.autoPackLimit", () => {
    expect(due({}, {}, 50)).toEqual([]);
    expect(due({}, {}, 51)).toEqual(["fold"]);
    expect(due({}, { gc: { auto: 6700, autoPackLimit: 0 } }, 51)).toEqual([]);
  });

  it("is nothing where it is switched off", () => {
    const all: Partial<UpkeepSurvey> = {
      ...packs({ cruft: waiting(20), objectsSinceGraph: 9000 }),
      refs: { loose: 1000, packed: 0 },
      bitmapMs: undefined,
      looseObjects: { count: 10_000, isExact: false },
    };
    expect(due(all, {}, 100)).toEqual(["pack-refs", "loose-objects", "gc", "fold", "bitmap", "commit-graph"]);
    expect(due(all, { gc: { auto: 0, autoPackLimit: 50 } }, 100)).toEqual([]);
    const { receive } = DEFAULT_REPOSITORY_SETTINGS;
    expect(due(all, { receive: { ...receive, autoGc: false } }, 100)).toEqual([]);
    const less = {
      upkeep: { graceMs: Infinity, packRefs: false },
      sideFiles: { bitmap: false, commitGraph: false, multiPackIndex: true },
    };
    expect(due(all, less, 100)).toEqual(["loose-objects", "fold"]);
  });
});
