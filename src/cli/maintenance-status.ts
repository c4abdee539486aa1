/** What `gitwharf maintenance status` tells of a repository: for people, and as JSON. */
import { type DueTask, dueTasks } from "../engine/maintenance/upkeep-due.js";
import type { Repository } from "../storage/contracts/repository.js";
import type { RefCounts } from "../storage/contracts/ref-store.js";
import type { UpkeepSurvey } from "../storage/contracts/upkeep.js";

export interface MaintenanceStatus {
  readonly name: string;
  /** undefined: the backend looks after itself. */
  readonly packs:
    | (Omit<UpkeepSurvey["packs"], "broken" | "cruft"> & {
        readonly foldable: number;
        readonly broken: Readonly<Record<string, string>>;
        readonly cruft: {
          readonly count: number;
          readonly objects: number;
          readonly bytes: number;
          readonly oldest: string | null;
        };
      })
    | undefined;
  readonly looseObjects: number | undefined;
  readonly refs: RefCounts | undefined;
  /** Times in ISO 8601; null: there is none. */
  readonly files:
    | {
        readonly bitmap: string | null;
        readonly commitGraph: string | null;
        readonly multiPackIndex: string | null;
      }
    | undefined;
  readonly alternates: number | undefined;
  readonly lastRuns: Readonly<Record<string, { readonly at: string; readonly outcome: string }>>;
  readonly heldBy: string | null;
  readonly due: readonly DueTask[];
}

/** @throws storage/io, storage/bad-config */
export async function statusOf(repository: Repository): Promise<MaintenanceStatus> {
  const { name, upkeep, packMaintenance } = repository;
  const foldable = (await packMaintenance?.countFoldable()) ?? 0;
  const survey = await upkeep?.survey({ exact: true });
  const settings = await repository.settings();
  if (survey === undefined) {
    const limit = settings.gc.autoPackLimit;
    const isDue = settings.receive.autoGc && settings.gc.auto > 0 && limit > 0 && foldable > limit;
    const due = isDue ? [{ task: "fold" as const, why: `${foldable} packs, more than ${limit}` }] : [];
    const none = { packs: undefined, looseObjects: undefined, refs: undefined, files: undefined };
    return { name, ...none, alternates: undefined, lastRuns: {}, heldBy: null, due };
  }
  const { packs, runs } = survey;
  const { cruft, broken, ...rest } = packs;
  const { oldestMs, ...counts } = cruft;
  return {
    name,
    packs: {
      ...rest,
      foldable,
      broken: Object.fromEntries(broken),
      cruft: { ...counts, oldest: isoOf(oldestMs) },
    },
    looseObjects: survey.looseObjects.count,
    refs: survey.refs,
    files: {
      bitmap: isoOf(survey.bitmapMs),
      commitGraph: isoOf(survey.commitGraphMs),
      multiPackIndex: isoOf(survey.multiPackIndexMs),
    },
    alternates: survey.alternates,
    lastRuns: Object.fromEntries(
      [...runs].map(([task, { atMs, outcome }]) => [task, { at: new Date(atMs).toISOString(), outcome }]),
    ),
    heldBy: survey.heldBy ?? null,
    due: dueTasks(survey, settings, foldable),
  };
}

export function describeStatus(status: MaintenanceStatus): string {
  const { packs, refs, files, heldBy, due } = status;
  const lines: string[] = [];
  if (packs !== undefined) {
    const { count, objects, bytes, kept, foldable, cruft } = packs;
    lines.push(`packs: ${count}, ${objects} objects, ${bytes} bytes (${foldable} to fold, ${kept} kept)`);
    if (cruft.count > 0)
      lines.push(
        `unreachable: ${cruft.objects} objects in ${cruft.count} packs, ${cruft.bytes} bytes, the oldest since ${cruft.oldest ?? "nobody knows when"}`,
      );
    for (const [name, why] of Object.entries(packs.broken)) lines.push(`cannot be used: ${name}: ${why}`);
  }
  if (status.looseObjects !== undefined) lines.push(`loose objects: ${status.looseObjects}`);
  if (refs !== undefined)
    lines.push(
      refs.tables === undefined
        ? `refs: ${refs.loose} in files of their own, ${refs.packed} packed`
        : `refs: ${refs.packed} in ${refs.tables} reftables`,
    );
  if (files !== undefined)
    for (const [what, at] of [
      ["bitmap", files.bitmap],
      ["commit-graph", files.commitGraph],
      ["multi-pack-index", files.multiPackIndex],
    ] as const)
      lines.push(`${what}: ${at ?? "none"}`);
  if ((status.alternates ?? 0) > 0) lines.push(`borrows objects from ${status.alternates} others`);
  if (heldBy !== null) lines.push(`at work: ${heldBy}`);
  for (const [task, { at, outcome }] of Object.entries(status.lastRuns))
    lines.push(`last ${task}: ${at}, ${outcome}`);
  if (due.length === 0) lines.push("due: nothing");
  for (const { task, why } of due) lines.push(`due: ${task} (${why})`);
  return [`${status.name}:`, ...lines.map((line) => `    ${line}`)].join("\n");
}

function isoOf(ms: number | undefined): string | null {
  return ms === undefined ? null : new Date(ms).toISOString();
}
