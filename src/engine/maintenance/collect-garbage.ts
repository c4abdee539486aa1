/**
 * Sorts the objects of a repository by what leads to them, and drops those to which nothing does. What goes where is found out
 * in a worker; the new packs are then written like packs that are received: each object is unpacked and hashed once more, so
 * that nothing broken is carried on. In memory: about 100 bytes an object, and some mebibytes.
 */
import { GitwharfError, throwIfAborted } from "../../base/errors.js";
import { NO_PACK_LIMITS } from "../../base/limits.js";
import { runInWorker } from "../../base/worker-pool.js";
import type { ObjectId } from "../../object/object-id.js";
import type { Pack } from "../../pack/pack.js";
import type {
  CollectedAs,
  CollectionWork,
  GarbageCollection,
  MadeBeside,
  PackToCollect,
} from "../../storage/contracts/pack-maintenance.js";
import type { ObjectReader } from "../../storage/contracts/object-reader.js";
import type { Quarantine } from "../../storage/contracts/quarantine.js";
import { createObjectDatabase } from "../../storage/object-database.js";
import type { PlanData } from "../fetch/plan-data.js";
import { ingestPack } from "../ingest/ingest-pack.js";
import { bindPlan, findPacks } from "../pack-plan.js";
import { streamPack } from "../pack-stream.js";
import { membership } from "../reachability.js";
import type { CollectedPack, CollectionPlan, CollectionRequest } from "./collection-plan.js";
import type { CollectionTask } from "./collection-worker.js";
import { makeCommitGraph, makePackBitmap } from "./make-side-files.js";

export type CollectionOutcome =
  | {
      readonly kind: "collected";
      /** To which refs lead. */
      readonly reachable: number;
      /** To which no ref does, and which are kept for a while; those that were known before are not counted again. */
      readonly unreachable: number;
      readonly dropped: number;
      readonly packsBefore: number;
      readonly packsAfter: number;
      /** Of the packs that were written. */
      readonly writtenBytes: number;
    }
  /** The packs stand well as they are. */
  | { readonly kind: "nothing to do" }
  /** Another process is at work, or was quicker, or needs what was to go. */
  | { readonly kind: "left to others" };

export interface CollectionProgress {
  readonly step: "looking" | "writing" | "making bitmaps" | "putting in place";
  readonly doneBytes: number;
  /** 0: not known yet. */
  readonly totalBytes: number;
}

export interface CollectOptions {
  /** @default as the store has it */
  readonly graceMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: CollectionProgress) => void) | undefined;
}

const WORKER = new URL("./collection-worker.js", import.meta.url);
/** Smaller packs are walked through as quickly as anything beside them could be read. */
const READ_QUICKLY_MIN = 1000;
/** Of the grace: so many packs of unreachable objects wait for their time, and one more. */
const PERIODS = 4;

/** @throws object/corrupt, storage/io, storage/not-found, base/aborted */
export async function collectGarbage(
  garbage: GarbageCollection,
  options: CollectOptions = {},
): Promise<CollectionOutcome> {
  throwIfAborted(options.signal);
  const work = await garbage.begin();
  if (work === undefined) return { kind: "left to others" };
  try {
    return await collect(work, { ...options, graceMs: options.graceMs ?? garbage.graceMs });
  } finally {
    await work.release();
  }
}

async function collect(
  work: CollectionWork,
  options: CollectOptions & { readonly graceMs: number },
): Promise<CollectionOutcome> {
  const { signal, onProgress } = options;
  onProgress?.({ step: "looking", doneBytes: 0, totalBytes: 0 });
  const request = requestOf(work, options.graceMs);
  const planned = await runInWorker<CollectionTask, CollectionPlan>(
    WORKER,
    { objects: work.objects.describe(), request },
    { signal, isBackground: true },
  );
  const reused = new Set<Pack>();
  const toWrite = planned.packs.filter(({ as, plan }) => {
    const same = work.packs.find(({ pack, madeAs }) => madeAs === as && isWhole(plan, pack));
    if (same !== undefined) reused.add(same.pack);
    return same === undefined;
  });
  const removed = work.packs.flatMap(({ pack }) => {
    const fate = request.packs.get(pack.key);
    return fate === "shared" || fate === "waiting" || reused.has(pack) ? [] : [pack];
  });
  if (removed.length === 0) return { kind: "nothing to do" };
  const totalBytes = toWrite.reduce((sum, { plan }) => sum + plan.sizeBytes, 0);
  let writtenBytes = 0;
  const onBytes = (bytes: number): void => {
    writtenBytes += bytes;
    onProgress?.({ step: "writing", doneBytes: writtenBytes, totalBytes });
  };
  for (const { as, plan } of toWrite) {
    const pack = await write(work, as, plan, { signal, onBytes });
    if (as !== "base" || work.shallow.size > 0 || pack.objectCount < READ_QUICKLY_MIN) continue;
    onProgress?.({ step: "making bitmaps", doneBytes: writtenBytes, totalBytes });
    work.keepBeside(as, await makeBeside(pack, request.baseTips, signal));
  }
  throwIfAborted(signal);
  onProgress?.({ step: "putting in place", doneBytes: writtenBytes, totalBytes: writtenBytes });
  const { droppedCount } = planned;
  const isReplaced = await work.replace({
    removed,
    dropsObjects: droppedCount > 0,
    isReached: membership(work.objects, planned.reached),
  });
  if (!isReplaced) return { kind: "left to others" };
  return {
    kind: "collected",
    reachable: planned.reachedCount,
    unreachable: planned.unreachableCount,
    dropped: droppedCount,
    packsBefore: work.packs.length,
    packsAfter: work.packs.length - removed.length + toWrite.length,
    writtenBytes,
  };
}

function requestOf(work: CollectionWork, graceMs: number): CollectionRequest {
  const { refs, shallow, nowMs } = work;
  const baseTips: ObjectId[] = [];
  const otherTips: ObjectId[] = [];
  for (const { name, oid } of refs.all)
    (name.startsWith("refs/heads/") || name.startsWith("refs/tags/") ? baseTips : otherTips).push(oid);
  // A detached one.
  if (refs.head.symbolicTarget === undefined && refs.head.oid !== undefined) otherTips.push(refs.head.oid);
  return {
    baseTips,
    otherTips,
    cutAt: [...shallow],
    packs: new Map(work.packs.map((each) => [each.pack.key, fateOf(each, nowMs, graceMs)])),
    keepsUnreachable: graceMs > 0,
  };
}

function fateOf(
  { isShared, madeAs, sinceMs = 0 }: PackToCollect,
  now: number,
  graceMs: number,
): CollectedPack {
  if (isShared) return "shared";
  if (madeAs !== "unreachable") return "new";
  if (now - sinceMs >= graceMs) return "expired";
  // Of one period they become one, which is as old as the youngest of them: however often garbage is collected, its time comes.
  const periodMs = graceMs / PERIODS;
  return Math.floor(sinceMs / periodMs) === Math.floor(now / periodMs) ? "new" : "waiting";
}

/** The plan says nothing but: this pack. */
function isWhole({ trailer, packKeys }: PlanData, pack: Pack): boolean {
  return trailer !== undefined && packKeys.length === 1 && packKeys[0] === pack.key;
}

async function write(
  work: CollectionWork,
  as: CollectedAs,
  plan: PlanData,
  options: { readonly signal: AbortSignal | undefined; readonly onBytes: (bytes: number) => void },
): Promise<Pack> {
  const { signal, onBytes } = options;
  const { objectFormat } = plan;
  // Nothing stands behind it: it must be whole by itself.
  const alone = createObjectDatabase({ objectFormat, packs: [] });
  const result = await ingestPack({
    quarantine: sinkOnly(work, as, alone),
    objects: alone,
    source: counted(bytesOf(plan, work.objects, signal), onBytes),
    objectFormat,
    limits: NO_PACK_LIMITS,
    collisionDetection: false,
    maxInputSizeBytes: Infinity,
    signal,
  });
  if (result.pack === undefined || result.objectCount !== plan.objectCount)
    throw new GitwharfError(
      "base/invariant",
      "a collection wrote another number of objects than it had planned",
    );
  return result.pack;
}

/** Of a pack that holds all that its tips lead to: it is the server's own disk that is read. */
async function makeBeside(
  pack: Pack,
  tips: readonly ObjectId[],
  signal: AbortSignal | undefined,
): Promise<MadeBeside> {
  const alone = createObjectDatabase({ objectFormat: pack.objectFormat, packs: [pack] });
  const graph = await makeCommitGraph(alone, { tips, signal });
  const bitmap = await makePackBitmap(pack, { tips, signal });
  return {
    ...(bitmap.kind === "made" ? { bitmap: bitmap.bytes } : {}),
    ...(graph === undefined ? {} : { commitGraph: new Uint8Array(graph) }),
  };
}

function bytesOf(
  data: PlanData,
  objects: ObjectReader,
  signal: AbortSignal | undefined,
): AsyncIterable<Buffer> {
  const packs = findPacks(data, objects);
  if (packs === undefined)
    throw new GitwharfError("base/invariant", "a collection needs a pack that is not open");
  const plan = bindPlan({ data, trailer: data.trailer }, packs, objects);
  return streamPack(plan, { signal });
}

async function* counted(
  source: AsyncIterable<Buffer>,
  onBytes: (bytes: number) => void,
): AsyncGenerator<Buffer, void, void> {
  for await (const bytes of source) {
    onBytes(bytes.length);
    yield bytes;
  }
}

function sinkOnly(work: CollectionWork, as: CollectedAs, objects: ObjectReader): Quarantine {
  return {
    objects,
    packs: [],
    createPack: () => work.createPack(as),
    addShallow: () => undefined,
    removeShallow: () => undefined,
    publish: async () => undefined,
    discard: async () => undefined,
  };
}
