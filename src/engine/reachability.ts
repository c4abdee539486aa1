/**
 * Which objects can be reached from some tips: the check behind wants that name no ref. Commits, tags, trees and
 * blobs alike.
 */
import { LRUCache } from "lru-cache";
import { cacheOfProcess } from "../base/process-caches.js";
import { isPromise } from "../base/maybe-promise.js";
import { runInWorker } from "../base/worker-pool.js";
import type { ObjectId } from "../object/object-id.js";
import type { ObjectReader } from "../storage/contracts/object-reader.js";
import type { Snapshot } from "../storage/contracts/repository.js";
import { CommitQueue } from "./fetch/commit-queue.js";
import { type CommitLinks, createCommitReader } from "./fetch/commit-reader.js";
import { collectReachable, reachableDigest, type ReachableRequest } from "./fetch/collect-reachable.js";
import type { ReachableTask } from "./fetch/reachable-set-worker.js";
import { packIdentity, type ReachableSet, reachableSetBytes } from "./fetch/reachable-set.js";
import { findSeeds, keepSeed } from "./fetch/seed-cache.js";
import { BudgetExceeded, WorkBudget } from "./fetch/work-budget.js";
import { peelTag } from "./peel.js";

/** Sets by state of the repository; an eighth of a byte an object. */
const sets = cacheOfProcess(
  new LRUCache<string, ReachableSet>({
    maxSize: 32 * 1024 * 1024,
    sizeCalculation: reachableSetBytes,
  }),
);
const INLINE_UNITS_MAX = 1500;
/** A longer walk is made once, for all that may be asked, rather than each time. */
const WALK_UNITS_MAX = 4000;

/**
 * The ones among `oids` that cannot be reached from `tips`, or are absent. In order.
 * @throws base/aborted, object/corrupt, storage/io
 */
export async function areReachable(
  snapshot: Pick<Snapshot, "objects" | "shallow">,
  oids: readonly ObjectId[],
  tips: readonly ObjectId[],
  signal?: AbortSignal,
): Promise<ObjectId[]> {
  const tipSet = new Set(tips);
  const asked = oids.filter((oid) => !tipSet.has(oid));
  if (asked.length === 0) return [];
  const { objects, shallow } = snapshot;
  const reader = createCommitReader(objects, shallow.size > 0 ? shallow : undefined);
  const commits = new Map<ObjectId, CommitLinks>();
  const others: ObjectId[] = [];
  const unreachable = new Set<ObjectId>();
  const budget = new WorkBudget({ signal });
  for (const oid of new Set(asked)) {
    if (budget.spend(1)) await budget.pause();
    const read = reader.read(oid);
    const links = isPromise(read) ? await read : read;
    if (links !== undefined) commits.set(oid, links);
    else if (await objects.has(oid)) others.push(oid);
    else unreachable.add(oid);
  }
  const request: ReachableRequest = { tips: [...tipSet], cutAt: [...shallow], seeds: findSeeds(objects) };
  const digest = await reachableDigest(objects, request, budget);
  const ready = sets.get(digest);
  const walked =
    others.length > 0 || ready !== undefined ? undefined : await walkTo(snapshot, commits, tipSet, signal);
  if (walked === undefined) {
    const set = ready ?? (await collect(objects, request, digest, signal));
    const contains = membership(objects, set);
    for (const oid of [...commits.keys(), ...others]) {
      if (budget.spend(0.2)) await budget.pause();
      if (!contains(oid)) unreachable.add(oid);
    }
  } else {
    for (const oid of walked) unreachable.add(oid);
  }
  return asked.filter((oid) => unreachable.has(oid));
}

/** The same, the other way round: true when every object can be reached. */
export async function checkWants(
  snapshot: Pick<Snapshot, "objects" | "shallow">,
  oids: readonly ObjectId[],
  tips: readonly ObjectId[],
  signal?: AbortSignal,
): Promise<boolean> {
  return (await areReachable(snapshot, oids, tips, signal)).length === 0;
}

/** The commits that a walk from the tips does not meet; undefined when it would be long. */
async function walkTo(
  snapshot: Pick<Snapshot, "objects" | "shallow">,
  commits: ReadonlyMap<ObjectId, CommitLinks>,
  tips: ReadonlySet<ObjectId>,
  signal: AbortSignal | undefined,
): Promise<ReadonlySet<ObjectId> | undefined> {
  const budget = new WorkBudget({ unitsMax: WALK_UNITS_MAX + tips.size, signal });
  try {
    return await unreachableCommits(snapshot, commits, tips, budget);
  } catch (error) {
    if (error instanceof BudgetExceeded) return undefined;
    throw error;
  }
}

/** One walk from the tips, newest first, until every commit is met or only older ones are left. */
async function unreachableCommits(
  { objects, shallow }: Pick<Snapshot, "objects" | "shallow">,
  commits: ReadonlyMap<ObjectId, CommitLinks>,
  tips: ReadonlySet<ObjectId>,
  budget: WorkBudget,
): Promise<ReadonlySet<ObjectId>> {
  const reader = createCommitReader(objects, shallow.size > 0 ? shallow : undefined);
  const missing = new Set(commits.keys());
  let lowest = Number.POSITIVE_INFINITY;
  for (const links of commits.values()) lowest = Math.min(lowest, links.generation);
  const queue = new CommitQueue<CommitLinks>();
  const seen = new Set<ObjectId>();
  const meet = async (oid: ObjectId): Promise<void> => {
    if (seen.has(oid)) return;
    seen.add(oid);
    missing.delete(oid);
    const read = reader.read(oid);
    const links = isPromise(read) ? await read : read;
    // Behind a commit of a lower generation than all that are looked for there is none of them.
    if (links !== undefined && (links.generation === Number.POSITIVE_INFINITY || links.generation > lowest)) {
      queue.push(links);
    }
  };
  for (const tip of tips) {
    if (budget.spend(1)) await budget.pause();
    const peeled = peelTag(objects, tip);
    const end = isPromise(peeled) ? await peeled : peeled;
    if (end?.type === "commit") await meet(end.oid);
  }
  for (let at = queue.pop(); at !== undefined && missing.size > 0; at = queue.pop()) {
    if (budget.spend(1)) await budget.pause();
    for (const parent of at.parents) await meet(parent);
  }
  return missing;
}

/** @param set made of these objects, or of those that they were before */
export function membership(objects: ObjectReader, set: ReachableSet): (oid: ObjectId) => boolean {
  const bits = new Map(set.packs.map((pack) => [pack.identity, pack.words]));
  const packs = objects.packs.map((pack) => ({ index: pack.index, words: bits.get(packIdentity(pack)) }));
  const outside = new Set(set.outside);
  return (oid) => {
    if (outside.has(oid)) return true;
    for (const { index, words } of packs) {
      const position = words === undefined ? -1 : index.find(oid);
      // The bit is set in one of the packs that hold the object.
      if (position >= 0 && (((words?.[position >>> 5] ?? 0) >>> (position & 31)) & 1) === 1) return true;
    }
    return false;
  };
}

async function collect(
  objects: ObjectReader,
  request: ReachableRequest,
  digest: string,
  signal: AbortSignal | undefined,
): Promise<ReachableSet> {
  const set = await collectSomewhere(objects, request, signal);
  sets.set(digest, set);
  keepSeed(objects, set);
  return set;
}

async function collectSomewhere(
  objects: ObjectReader,
  request: ReachableRequest,
  signal: AbortSignal | undefined,
): Promise<ReachableSet> {
  try {
    return await collectReachable(objects, request, new WorkBudget({ unitsMax: INLINE_UNITS_MAX, signal }));
  } catch (error) {
    if (!(error instanceof BudgetExceeded)) throw error;
  }
  const task: ReachableTask = { objects: objects.describe(), request };
  return runInWorker<ReachableTask, ReachableSet>(
    new URL("./fetch/reachable-set-worker.js", import.meta.url),
    task,
    {
      signal,
    },
  );
}
