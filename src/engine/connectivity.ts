/**
 * May the refs of a push name what they are to name? Everything that a new tip leads to must be new itself (sent in
 * this push) or reachable from refs that the pusher can see.
 *
 * Only what is new is walked, and of that only as much as it takes: a pack without links to the outside proves
 * itself, and otherwise it is enough to find the few outside objects that it does refer to.
 *
 * Differs from git: that an object is in storage is not enough, even if everything it leads to is there as well. A
 * push must not lay hold of an object that only a hidden ref, or no ref at all, leads to; nor may a thin pack build
 * on one. git accepts both.
 */
import { type ObjectId, objectIdAt } from "../object/object-id.js";
import { entryTypeOf } from "../pack/entry-header.js";
import { RECORDED_GROUNDS_MAX } from "../pack/recorded-push.js";
import type { ObjectReader } from "../storage/contracts/object-reader.js";
import type { Snapshot } from "../storage/contracts/repository.js";
import { runInWorker } from "../base/worker-pool.js";
import { hashBytes } from "../object/object-format.js";
import type { ConnectivityTask, FindMissingAnswer, MarkAnswer } from "./connectivity/connectivity-task.js";
import { findMissing, type MissingObject } from "./connectivity/find-missing.js";
import { markNearby } from "./connectivity/mark-reachable.js";
import { NeededObjects } from "./connectivity/needed-objects.js";
import { BudgetExceeded, WorkBudget } from "./fetch/work-budget.js";
import { NO_LINKS, newObjectTest, type NewObjectLinks } from "./ingest/new-object-links.js";
import { areReachable } from "./reachability.js";

export interface ConnectivityRequest {
  /** The quarantine's: the repository's objects and the new ones. */
  readonly objects: ObjectReader;
  /** undefined: no pack came with the push. */
  readonly ingest?: { readonly links: NewObjectLinks } | undefined;
  /** Ids that refs are to name. */
  readonly tips: readonly ObjectId[];
  /** The repository before the push. */
  readonly snapshot: Pick<Snapshot, "objects" | "refs" | "head" | "alternateTips">;
  /** False for hidden refs: they prove nothing. */
  readonly isVisible: (refName: string) => boolean;
  /** Commits of the repository whose parents are absent. */
  readonly shallow: ReadonlySet<ObjectId>;
  /** New commits whose parents may be absent. */
  readonly newShallow?: Iterable<ObjectId> | undefined;
  readonly signal?: AbortSignal | undefined;
}

export type ConnectivityAnswer =
  | {
      readonly ok: true;
      /**
       * `RecordedPush.grounds` of the pack, where looking at them was enough; undefined: it is not known, or they are many.
       */
      readonly grounds?: readonly ObjectId[];
    }
  | { readonly ok: false; readonly missing: MissingObject };

/** Units of work (about 10 µs each) that the main thread does itself. */
const INLINE_UNITS_MAX = 2000;
/** Bits of `LinkList.kinds`. */
const COMMIT_OR_TAG = (1 << 1) | (1 << 4);

/**
 * Memory: the ids of what is referred to outside of the pack, and of the new commits.
 * @throws base/aborted, object/corrupt, storage/io
 */
export async function checkConnectivity(request: ConnectivityRequest): Promise<ConnectivityAnswer> {
  const links = request.ingest?.links ?? NO_LINKS;
  const isNew = newObjectTest(links, request.objects);
  const oldTips = request.tips.filter((tip) => !isNew(tip));
  if (oldTips.length === 0 && links.external.kinds.length === 0) return { ok: true, grounds: [] };
  const needed = new NeededObjects(withTips(links, oldTips, request.objects), request.objects.objectFormat);
  await strikeRefs(request, needed);
  const unreachable = new Set<ObjectId>();
  if (needed.others > 0)
    for (const oid of await leftAfterWalk(request, needed, "others")) unreachable.add(oid);
  const unmarked = needed.treesAndBlobs === 0 ? needed : await mark(request, links, needed);
  const hadToWalk = unmarked.treesAndBlobs > 0;
  if (hadToWalk) {
    for (const oid of await leftAfterWalk(request, unmarked, "trees and blobs")) unreachable.add(oid);
  }
  if (unreachable.size === 0) {
    const grounds = unmarked.treesAndBlobs === 0 && !hadToWalk ? groundsOf(request, links) : undefined;
    return grounds === undefined ? { ok: true } : { ok: true, grounds };
  }
  const base = links.bases.find((oid) => unreachable.has(oid));
  if (base !== undefined) return { ok: false, missing: { oid: base } };
  const missing = await explain(request, links, unreachable);
  return missing === undefined ? { ok: true } : { ok: false, missing };
}

/**
 * What the pack's objects refer to besides trees and blobs, all of which were found in the trees of these commits. Not
 * of a push that cuts history, and not where a delta stands on a commit or tag: then it need not be referred to.
 */
function groundsOf(
  { objects, shallow, newShallow = [] }: ConnectivityRequest,
  { external: { oids, kinds }, bases }: NewObjectLinks,
): readonly ObjectId[] | undefined {
  if (shallow.size > 0 || [...newShallow].length > 0) return undefined;
  const h = hashBytes(objects.objectFormat);
  const bytes = Buffer.from(oids.buffer, oids.byteOffset, oids.length);
  const grounds: ObjectId[] = [];
  for (let i = 0; i < kinds.length; i++) {
    if (((kinds[i] as number) & COMMIT_OR_TAG) === 0) continue;
    if (grounds.length === RECORDED_GROUNDS_MAX) return undefined;
    grounds.push(objectIdAt(bytes, i * h, objects.objectFormat));
  }
  const named = new Set(grounds);
  return bases.some((oid) => named.has(oid)) ? undefined : grounds;
}

function withTips(
  links: NewObjectLinks,
  tips: readonly ObjectId[],
  { objectFormat }: ObjectReader,
): NewObjectLinks["external"] {
  const { oids, kinds } = links.external;
  const more = Buffer.alloc(tips.length * hashBytes(objectFormat));
  tips.forEach((tip, i) => more.write(tip, i * hashBytes(objectFormat), "hex"));
  return {
    oids: Buffer.concat([oids, more]),
    kinds: Uint8Array.from([...kinds, ...tips.map(() => 0)]),
  };
}

/** Commits and tags that visible refs name themselves: what most pushes build on. */
async function strikeRefs(
  { snapshot, isVisible, objects }: ConnectivityRequest,
  needed: NeededObjects,
): Promise<void> {
  const looked = new Set(needed.left("others").map(({ oid }) => oid));
  if (looked.size === 0) return;
  const named = new Set<ObjectId>();
  for (const { oid, peeled, name } of snapshot.refs.all) {
    if (!looked.has(oid) && (peeled === undefined || !looked.has(peeled))) continue;
    if (!isVisible(name)) continue;
    if (looked.has(oid)) named.add(oid);
    if (peeled !== undefined && looked.has(peeled)) named.add(peeled);
  }
  for (const oid of loneTips(snapshot, isVisible)) if (looked.has(oid)) named.add(oid);
  for (const oid of named) await strikeExisting(objects, oid, needed);
}

/** Tips without a ref of their own: a detached HEAD, and those of alternates. */
function loneTips(
  { head, alternateTips }: ConnectivityRequest["snapshot"],
  isVisible: (name: string) => boolean,
): ObjectId[] {
  const detached =
    head.symbolicTarget === undefined && head.oid !== undefined && isVisible("HEAD") ? [head.oid] : [];
  return [...detached, ...alternateTips];
}

async function strikeExisting(objects: ObjectReader, oid: ObjectId, needed: NeededObjects): Promise<void> {
  const header = await objects.readHeader(oid);
  if (header !== undefined) needed.strikeOid(oid, entryTypeOf(header.type));
}

/** Looks from all visible refs, as far as it takes. @returns what cannot be reached, or is of another type */
async function leftAfterWalk(
  request: ConnectivityRequest,
  needed: NeededObjects,
  which: "trees and blobs" | "others",
): Promise<ObjectId[]> {
  const { snapshot, isVisible, shallow, signal } = request;
  const left = needed.left(which).map(({ oid }) => oid);
  const tips = new Set<ObjectId>(loneTips(snapshot, isVisible));
  for (const { oid, name } of snapshot.refs.all) if (isVisible(name)) tips.add(oid);
  const unreachable = new Set(
    await areReachable({ objects: snapshot.objects, shallow }, left, [...tips], signal),
  );
  for (const oid of left) if (!unreachable.has(oid)) await strikeExisting(snapshot.objects, oid, needed);
  return needed.left(which).map(({ oid }) => oid);
}

async function mark(
  request: ConnectivityRequest,
  links: NewObjectLinks,
  needed: NeededObjects,
): Promise<NeededObjects> {
  const { objects, tips, signal } = request;
  const isNew = newObjectTest(links, objects);
  try {
    await markNearby({ objects, isNew, needed, budget: inlineBudget(signal) }, tips);
    return needed;
  } catch (error) {
    if (!(error instanceof BudgetExceeded)) throw error;
  }
  const left = await runTask<MarkAnswer>(
    { do: "mark", objects: objects.describe(), links, tips, needed: needed.leftList() },
    signal,
  );
  return new NeededObjects(left, objects.objectFormat);
}

async function explain(
  request: ConnectivityRequest,
  links: NewObjectLinks,
  unreachable: ReadonlySet<ObjectId>,
): Promise<MissingObject | undefined> {
  const { objects, tips, signal } = request;
  const isNew = newObjectTest(links, objects);
  const newShallow = new Set(request.newShallow);
  try {
    return await findMissing({ objects, isNew, unreachable, newShallow, budget: inlineBudget(signal) }, tips);
  } catch (error) {
    if (!(error instanceof BudgetExceeded)) throw error;
  }
  return runTask<FindMissingAnswer>(
    {
      do: "find missing",
      objects: objects.describe(),
      links,
      tips,
      unreachable: [...unreachable],
      newShallow: [...newShallow],
    },
    signal,
  );
}

function inlineBudget(signal: AbortSignal | undefined): WorkBudget {
  return new WorkBudget({ unitsMax: INLINE_UNITS_MAX, signal });
}

function runTask<Answer>(task: ConnectivityTask, signal: AbortSignal | undefined): Promise<Answer> {
  const worker = new URL("./connectivity/connectivity-worker.js", import.meta.url);
  return runInWorker<ConnectivityTask, Answer>(worker, task, { signal });
}
