/**
 * Folds the small packs of a repository into one. The main thread moves bytes; planning, copying and indexing run in
 * workers. In memory: about 60 bytes an object, and some mebibytes.
 */
import { GitwharfError, isGitwharfError, throwIfAborted } from "../../base/errors.js";
import { runInWorker } from "../../base/worker-pool.js";
import { createObjectHash } from "../../object/object-format.js";
import type { ObjectId } from "../../object/object-id.js";
import { Pack } from "../../pack/pack.js";
import { PackIndex } from "../../pack/pack-index.js";
import { formatPackHeader } from "../../pack/pack-writer.js";
import type { PackMaintenance, PackReplacement } from "../../storage/contracts/pack-maintenance.js";
import type { PackSink } from "../../storage/contracts/quarantine.js";
import { copyLargeEntry } from "./copy-entries.js";
import type { FoldPlan } from "./fold-plan.js";
import type { CopyEntriesTask, FoldTask, IndexFoldAnswer, IndexFoldTask, PlanFoldTask } from "./fold-task.js";
import { chooseGeometrically } from "./geometric-choice.js";
import { makePackBitmap } from "./make-side-files.js";

/** Copied by a worker at a time. */
const SLICE_BYTES = 1024 * 1024;
/** Packs with more objects are left to git: planning them would take gigabytes. */
const PACK_OBJECTS_MAX = 10_000_000;
const WORKER = new URL("./fold-worker.js", import.meta.url);

/** More damaged packs than this are a matter for a person. */
const DAMAGED_MAX = 8;

export type FoldOutcome =
  | {
      readonly kind: "folded";
      readonly packCount: number;
      readonly objectCount: number;
      /** What was found in packs that were left as they are, because they are damaged. */
      readonly damage: readonly GitwharfError[];
    }
  /** The packs stand well as they are. */
  | { readonly kind: "nothing to do" }
  /** Another process is at work, or was quicker. */
  | { readonly kind: "left to others" };

export interface FoldOptions {
  readonly signal?: AbortSignal | undefined;
  /** Packs with a bitmap are folded as well; the new pack gets one of what these lead to. @default they are left alone */
  readonly bitmapOf?: (() => Promise<readonly ObjectId[]>) | undefined;
  /** Packs that a multi-pack-index names are folded as well, and it goes: the caller makes another one. @default false */
  readonly listed?: boolean | undefined;
}

/** The new pack cannot have a bitmap, so those that have one stay. */
class NoBitmap extends Error {}

/** @throws object/corrupt, storage/io, storage/not-found, base/aborted */
export async function foldPacks(
  maintenance: PackMaintenance,
  options: FoldOptions = {},
): Promise<FoldOutcome> {
  const { signal } = options;
  throwIfAborted(signal);
  const { bitmapOf, listed = false } = options;
  const replacement = await maintenance.begin({ bitmapped: bitmapOf !== undefined, listed });
  if (replacement === undefined) return { kind: "left to others" };
  try {
    return await foldSound(replacement, options);
  } finally {
    await replacement.release();
  }
}

/** Folds those that are not damaged: one bad pack must not leave a repository with ever more of them. */
async function foldSound(replacement: PackReplacement, options: FoldOptions): Promise<FoldOutcome> {
  const { signal } = options;
  const damage: GitwharfError[] = [];
  const left = new Set<Pack>();
  for (;;) {
    const packs = choosePacks(replacement.packs.filter((pack) => !left.has(pack)));
    if (packs.length < 2) {
      if (damage[0] !== undefined) throw damage[0];
      return { kind: "nothing to do" };
    }
    try {
      const { objectCount, bitmap } = await writeFold(replacement, packs, options);
      throwIfAborted(signal);
      if (!(await replacement.replace(packs, { bitmap }))) return { kind: "left to others" };
      return { kind: "folded", packCount: packs.length, objectCount, damage };
    } catch (error) {
      if (error instanceof NoBitmap) {
        for (const pack of packs) if (replacement.hasBitmap?.(pack)) left.add(pack);
        continue;
      }
      const bad = isGitwharfError(error, "object/corrupt")
        ? packs[Number(error.details["packNumber"])]
        : undefined;
      if (bad === undefined || damage.length >= DAMAGED_MAX) throw error;
      left.add(bad);
      damage.push(error as GitwharfError);
    }
  }
}

/** Oldest first. */
function choosePacks(youngestFirst: readonly Pack[]): Pack[] {
  const packs = youngestFirst.filter(({ objectCount }) => objectCount <= PACK_OBJECTS_MAX).reverse();
  const chosen = chooseGeometrically(packs.map(({ objectCount }) => objectCount));
  return chosen.sort((a, b) => a - b).map((i) => packs[i] as Pack);
}

async function writeFold(
  replacement: PackReplacement,
  packs: readonly Pack[],
  { signal, bitmapOf }: FoldOptions,
): Promise<{ readonly objectCount: number; readonly bitmap: Uint8Array | undefined }> {
  const { objectFormat } = packs[0] as Pack;
  const plan = await run<PlanFoldTask, FoldPlan>({
    do: "plan",
    objectFormat,
    packs: packs.map(({ name, index, bytes }) => ({ name, index: index.bytes, bytes: bytes.describe() })),
  });
  const sink = await replacement.createPack();
  try {
    const trailer = await copyAll(plan, packs, sink, signal);
    const files = await run<IndexFoldTask, IndexFoldAnswer>({
      do: "index",
      plan,
      trailer,
      folded: packs.map(({ index }) => index.bytes),
    });
    let bitmap: Uint8Array | undefined;
    if (bitmapOf !== undefined && packs.some((pack) => replacement.hasBitmap?.(pack))) {
      const index = PackIndex.parse(files.index, objectFormat);
      const made = await makePackBitmap(new Pack({ key: `fold ${trailer}`, index, bytes: sink.range() }), {
        tips: await bitmapOf(),
        signal,
      });
      if (made.kind === "impossible") throw new NoBitmap();
      bitmap = made.bytes;
    }
    await sink.finish({ trailer, ...files });
    return { objectCount: plan.objectCount, bitmap };
  } catch (error) {
    await sink.abort();
    throw error;
  }
}

/**
 * Writes what a plan says that was made of some objects of packs alone: who calls sees to it that none is lost.
 * @param packs by number of the plan
 * @throws object/corrupt, storage/io, base/aborted
 */
export async function writeCopiedPack(
  plan: FoldPlan,
  packs: readonly Pack[],
  options: { readonly createPack: () => Promise<PackSink>; readonly signal?: AbortSignal | undefined },
): Promise<Pack> {
  const sink = await options.createPack();
  try {
    const trailer = await copyAll(plan, packs, sink, options.signal);
    const task: IndexFoldTask = { do: "index", plan, trailer, folded: [] };
    return await sink.finish({ trailer, ...(await run<IndexFoldTask, IndexFoldAnswer>(task)) });
  } catch (error) {
    await sink.abort();
    throw error;
  }
}

/** Header, entries and trailer. @returns the trailer, hexadecimal */
async function copyAll(
  plan: FoldPlan,
  packs: readonly Pack[],
  sink: PackSink,
  signal: AbortSignal | undefined,
): Promise<string> {
  const hash = createObjectHash(plan.objectFormat);
  const append = async (bytes: Uint8Array): Promise<void> => {
    hash.update(bytes);
    await sink.append(bytes);
  };
  await append(formatPackHeader(plan.objectCount));
  for (let from = 0; from < plan.objectCount; ) {
    throwIfAborted(signal);
    const to = endOfSlice(plan, from);
    const source = packs[plan.sources[from] as number] as Pack;
    if (sizeOf(plan, from, to) > SLICE_BYTES) {
      for await (const piece of copyLargeEntry(plan, from, source.bytes)) {
        throwIfAborted(signal);
        await append(piece);
      }
    } else await append(await run<CopyEntriesTask, Uint8Array>(copyTask(plan, from, to, packs)));
    from = to;
  }
  checkSize(plan, sink);
  const trailer = hash.digest("hex");
  await sink.append(Buffer.from(trailer, "hex"));
  return trailer;
}

function run<Task extends FoldTask, Answer>(task: Task): Promise<Answer> {
  return runInWorker<Task, Answer>(WORKER, task);
}

/** At least one row; more than `SLICE_BYTES` only when it is one. */
function endOfSlice(plan: FoldPlan, from: number): number {
  let to = from + 1;
  while (to < plan.objectCount && sizeOf(plan, from, to + 1) <= SLICE_BYTES) to++;
  return to;
}

function sizeOf(plan: FoldPlan, from: number, to: number): number {
  return (plan.offsets[to] as number) - (plan.offsets[from] as number);
}

function copyTask(plan: FoldPlan, from: number, to: number, packs: readonly Pack[]): CopyEntriesTask {
  const numbers = new Set(plan.sources.subarray(from, to));
  return {
    do: "copy",
    plan,
    from,
    to,
    sources: [...numbers].map((number) => [number, (packs[number] as Pack).bytes.describe()]),
  };
}

function checkSize(plan: FoldPlan, sink: PackSink): void {
  if (sink.sizeBytes !== plan.offsets[plan.objectCount])
    throw new GitwharfError("base/invariant", "a folded pack has another size than planned");
}
