/**
 * Planning the pack that answers a fetch: what is in it and which stored bytes it is made of. `pack-stream.ts`
 * then yields the bytes.
 *
 * A small fetch is planned where it is asked for. One that turns out large is begun again in a worker thread, and a
 * clone of anything but a small repository starts there.
 */
import { invariant } from "../base/errors.js";
import type { Limits } from "../base/limits.js";
import { isPromise } from "../base/maybe-promise.js";
import { cacheOfProcess } from "../base/process-caches.js";
import { loadInWorker, runInWorker } from "../base/worker-pool.js";
import type { ObjectId } from "../object/object-id.js";
import type { Pack } from "../pack/pack.js";
import type { ObjectReader } from "../storage/contracts/object-reader.js";
import type { Ref } from "../storage/contracts/ref-store.js";
import type { Snapshot } from "../storage/contracts/repository.js";
import { noteBasesFirst } from "./fetch/bases-first.js";
import { createCommitReader } from "./fetch/commit-reader.js";
import { planEcho } from "./fetch/echoed-push.js";
import { includedTags } from "./fetch/include-tags.js";
import type { PlanTask } from "./fetch/pack-plan-worker.js";
import type { PlanData } from "./fetch/plan-data.js";
import { type ComputedPlan, computePlan, planDigest, type PlanRequest } from "./fetch/plan-request.js";
import { findSeeds, keepSeed } from "./fetch/seed-cache.js";
import { resolveSparseBlobs } from "./fetch/sparse-name.js";
import { BudgetExceeded, WorkBudget } from "./fetch/work-budget.js";
import type { ObjectFilter } from "./filter.js";
import { type CachedPlan, createPlanCache, type PlanCache } from "./plan-cache.js";

export interface PackPlanOptions {
  /** Under which pushes are remembered. @default only those are known that were recorded with their packs */
  readonly repositoryId?: string | undefined;
  /** Must not be released before the plan is. */
  readonly snapshot: Pick<Snapshot, "head" | "objects" | "refs" | "shallow">;
  /** Checked by the caller: everything reachable from them is sent. */
  readonly wants: readonly ObjectId[];
  /** What the client has and this side knows (`Negotiation.commons`). */
  readonly haves: readonly ObjectId[];
  /** What the client said is shallow at its side. */
  readonly clientShallow?: readonly ObjectId[] | undefined;
  /** The answer of `computeShallow`, as it was announced. */
  readonly shallow?: readonly ObjectId[] | undefined;
  readonly unshallow?: readonly ObjectId[] | undefined;
  readonly filter?: ObjectFilter | undefined;
  /** Deltas may stand on objects that the client has. @default false */
  readonly thinPack?: boolean | undefined;
  /** @default false */
  readonly ofsDelta?: boolean | undefined;
  /** Annotated tags go along with what they name. @default false */
  readonly includeTag?: boolean | undefined;
  /** Packs that may be left out when all that is in one of them is to be sent, by their keys. @default none */
  readonly elsewhere?: readonly string[] | undefined;
  /** Which refs' tags may go along. @default all */
  readonly isVisibleRef?: ((ref: Ref) => boolean) | undefined;
  readonly limits?: Limits | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Lines for the person at the other end, in git's words. */
  readonly onProgress?: ((text: string) => void) | undefined;
  /** @default one that the process shares */
  readonly cache?: PlanCache | undefined;
}

export interface PackPlan {
  readonly objectCount: number;
  /** Objects copied as they are stored. */
  readonly reusedCount: number;
  readonly deltaCount: number;
  /** Bytes of the pack; exact unless objects of a mebibyte and more stand loose. */
  readonly sizeBytesEstimate: number;
  readonly data: PlanData;
  /** By number of `data.segmentPacks`. */
  readonly packs: readonly Pack[];
  readonly objects: ObjectReader;
  /** The pack's checksum in hex, when it is known. */
  readonly trailer: string | undefined;
  setTrailer(trailer: string): void;
  release(): void;
}

const sharedCache = cacheOfProcess(createPlanCache());

/** Units of walking on the calling thread, about ten microseconds each. */
const INLINE_UNITS_MAX = 4000;
/** A request without haves goes to a worker at once when the repository has more objects than this in packs. */
const INLINE_CLONE_OBJECTS_MAX = 3000;

/**
 * @throws protocol/bad-request for a filter that cannot be resolved, protocol/not-our-ref for an absent want,
 *   object/corrupt, storage/io, base/aborted
 */
export async function planPack(options: PackPlanOptions): Promise<PackPlan> {
  const { snapshot } = options;
  const { objects } = snapshot;
  const { request, tagsDigest } = await resolveRequest(options);
  const cache = options.cache ?? sharedCache;
  const key = await planDigest(objects, request, { tagsDigest, signal: options.signal });
  const make = async (): Promise<PlanData> =>
    planEcho(objects, request, options.repositoryId) ?? (await makePlan(objects, request, options.signal));
  let cached: CachedPlan = await cache.get(key, options.signal, make);
  let packs = findPacks(cached.data, objects);
  if (packs === undefined) {
    // It was made by one who met a pack that came into being meanwhile: our own view decides.
    const own = await make();
    cached = { data: own, trailer: own.trailer };
    packs = findPacks(own, objects);
  }
  invariant(packs !== undefined, "a plan names only packs of the snapshot that it was made from");
  const { data } = cached;
  options.onProgress?.(`Enumerating objects: ${data.objectCount}, done.\n`);
  options.onProgress?.(
    `Total ${data.objectCount} (delta ${data.deltaCount}), reused ${data.reusedCount} ` +
      `(delta ${data.reusedDeltaCount}), pack-reused 0\n`,
  );
  return bindPlan(cached, packs, objects);
}

/** undefined when one of them is not in this view. */
export function findPacks(data: PlanData, objects: ObjectReader): readonly Pack[] | undefined {
  const byKey = new Map(objects.packs.map((pack) => [pack.key, pack]));
  const packs: Pack[] = [];
  for (const key of data.packKeys) {
    const pack = byKey.get(key);
    if (pack === undefined) return undefined;
    packs.push(pack);
  }
  return packs;
}

/** @param packs see `findPacks` */
export function bindPlan(cached: CachedPlan, packs: readonly Pack[], objects: ObjectReader): PackPlan {
  const { data } = cached;
  return {
    objectCount: data.objectCount,
    reusedCount: data.reusedCount,
    deltaCount: data.deltaCount,
    sizeBytesEstimate: data.sizeBytes,
    data,
    packs,
    objects,
    get trailer() {
      return cached.trailer;
    },
    setTrailer(trailer) {
      cached.trailer = trailer;
    },
    release() {
      // Nothing is held: the packs belong to the snapshot.
    },
  };
}

async function resolveRequest(
  options: PackPlanOptions,
): Promise<{ readonly request: PlanRequest; readonly tagsDigest: string }> {
  const { snapshot, unshallow = [] } = options;
  const wants = new Set(options.wants);
  const haves = new Set(options.haves);
  const cutAt = new Set([...snapshot.shallow, ...(options.clientShallow ?? []), ...(options.shallow ?? [])]);
  if (unshallow.length > 0) {
    // The client has these commits and now gets what is behind them; both sides still stop there from above.
    const reader = createCommitReader(snapshot.objects, snapshot.shallow);
    const budget = new WorkBudget({ signal: options.signal });
    for (const oid of unshallow) {
      if (budget.spend(1)) await budget.pause();
      const read = reader.read(oid);
      const links = isPromise(read) ? await read : read;
      if (links === undefined) continue;
      haves.add(oid);
      for (const parent of links.parents) wants.add(parent);
    }
  }
  const tags =
    options.includeTag === true
      ? await includedTags(snapshot, options.isVisibleRef ?? (() => true))
      : { tags: [], digest: "" };
  const request: PlanRequest = {
    wants: [...wants],
    haves: [...haves],
    cutAt: [...cutAt],
    filter: options.filter,
    sparseBlobs: await resolveSparseBlobs(snapshot, options.filter, options.isVisibleRef),
    thinPack: options.thinPack === true,
    ofsDelta: options.ofsDelta === true,
    tags: tags.tags,
    elsewhere: options.elsewhere ?? [],
    seeds: wantsHistory(options) ? findSeeds(snapshot.objects) : [],
  };
  return { request, tagsDigest: tags.digest };
}

/** Nothing that the client has or left out shortens what is sent. */
function wantsHistory(options: PackPlanOptions): boolean {
  return options.haves.length === 0 && options.filter === undefined && (options.shallow ?? []).length === 0;
}

async function makePlan(
  objects: ObjectReader,
  request: PlanRequest,
  signal: AbortSignal | undefined,
): Promise<PlanData> {
  const { plan, closure } = await computeSomewhere(objects, request, signal);
  if (closure !== undefined) keepSeed(objects, closure);
  for (const identity of plan.wholePacks) noteBasesFirst(identity, true);
  return plan;
}

const PLAN_WORKER = new URL("./fetch/pack-plan-worker.js", import.meta.url);

/** On this thread as far as it is little, and in a worker otherwise. */
export async function computeSomewhere(
  objects: ObjectReader,
  request: PlanRequest,
  signal: AbortSignal | undefined,
): Promise<ComputedPlan> {
  if (!(await startsInWorker(objects, request))) {
    const budget = new WorkBudget({ unitsMax: INLINE_UNITS_MAX, signal });
    try {
      return await computePlan(objects, request, budget);
    } catch (error) {
      if (!(error instanceof BudgetExceeded)) throw error;
    }
  }
  const task: PlanTask = { objects: objects.describe(), request };
  return runInWorker<PlanTask, ComputedPlan>(PLAN_WORKER, task, { signal });
}

/** Makes a thread ready to plan, so that a server's first clone need not wait for one. */
export function prepareToPlan(): Promise<void> {
  return loadInWorker(PLAN_WORKER);
}

/** A clone of anything but a small repository. */
async function startsInWorker(objects: ObjectReader, request: PlanRequest): Promise<boolean> {
  if (request.haves.length > 0 || request.cutAt.length > 0 || request.seeds.length > 0) return false;
  let count = 0;
  for (const pack of objects.packs) count += pack.index.objectCount;
  if (count <= INLINE_CLONE_OBJECTS_MAX) return false;
  // Partial clones fetch blobs by the handful: these lead nowhere.
  for (const oid of request.wants) {
    const read = objects.readHeader(oid);
    const header = isPromise(read) ? await read : read;
    if (header !== undefined && header.type !== "blob") return true;
  }
  return false;
}
