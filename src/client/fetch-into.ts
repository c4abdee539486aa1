/**
 * Fetching into a repository: what is wanted and not here is received into a quarantine, checked like a push, published, and
 * only then do refs move. What fails, or is given up, leaves nothing.
 */
import { GitwharfError, isGitwharfError } from "../base/errors.js";
import { DEFAULT_LIMITS, type Limits } from "../base/limits.js";
import { isPromise } from "../base/maybe-promise.js";
import { checkConnectivity } from "../engine/connectivity.js";
import { type IngestResult, ingestPack } from "../engine/ingest/ingest-pack.js";
import { areReachable } from "../engine/reachability.js";
import type { ObjectId } from "../object/object-id.js";
import type { ObjectReader } from "../storage/contracts/object-reader.js";
import type { RefUpdate, RefUpdateResult } from "../storage/contracts/ref-store.js";
import type { Repository, Snapshot } from "../storage/contracts/repository.js";
import { createHaveSource } from "./have-source.js";
import type { PackAnswer } from "./pack-answer.js";
import type { PackRequest, ShallowWish } from "./pack-request.js";

export interface FetchRequest extends ShallowWish {
  /** Closed by who has opened it. */
  readonly into: Repository;
  /** Objects that the server names: ids of its refs, or others where it allows that. */
  readonly wants: readonly ObjectId[];
  /** Refs that move once everything is there, each as it says. @default none: nothing keeps the objects then */
  readonly updates?: readonly RefUpdate[] | undefined;
  /** All refs or none. @default false */
  readonly atomic?: boolean | undefined;
  /**
   * As git's `--filter`. What it leaves out cannot be told from what is missing: only that the wants are there is looked at.
   */
  readonly filter?: string | undefined;
  /** Annotated tags of what comes. @default false */
  readonly includeTag?: boolean | undefined;
  /** What one fetch may bring: `packSizeBytesMax`, `packObjectsMax`, `objectSizeBytesMax`, … @default those of pushes */
  readonly limits?: Partial<Limits> | undefined;
  /** SHA-1 with collision detection for every object. @default true */
  readonly collisionDetection?: boolean | undefined;
  /** What the server says. */
  readonly onRemoteText?: ((text: string) => void) | undefined;
  /** What we do, in git's words; lines that are overwritten end in CR. */
  readonly onProgress?: ((text: string) => void) | undefined;
}

export interface FetchResult {
  /** That came; 0: all was here already. */
  readonly objectCount: number;
  /** Commits whose parents are not here from now on. */
  readonly shallow: readonly ObjectId[];
  /**
   * Commits whose parents have come. The repository goes on taking them for its boundary: its history looks shorter than it is.
   */
  readonly unshallow: readonly ObjectId[];
  /** One for each of `updates`, in order. */
  readonly refs: readonly RefUpdateResult[];
}

export interface FetchIntoContext {
  readonly shown: string;
  /** Ids of the server's refs, as far as they are known. */
  readonly theirs: Iterable<ObjectId>;
  readonly ask: (request: PackRequest) => Promise<PackAnswer>;
  readonly signal: AbortSignal | undefined;
}

/** @throws client/…, protocol/unsupported, pack/…, object/…, base/limit-exceeded, base/aborted, storage/io */
export async function fetchInto(context: FetchIntoContext, request: FetchRequest): Promise<FetchResult> {
  const { into, updates = [], depth, since, not = [] } = request;
  const snapshot = await into.snapshot();
  try {
    const deepens = depth !== undefined || since !== undefined || not.length > 0;
    const tips = [...new Set(snapshot.refs.all.map(({ oid }) => oid))];
    const all = [...new Set(request.wants)];
    // What is here by accident may be incomplete.
    const wants = deepens ? all : await areReachable(snapshot, all, tips, context.signal);
    if (wants.length === 0)
      return { objectCount: 0, shallow: [], unshallow: [], refs: await moveRefs(context, request, updates) };
    const quarantine = await into.openQuarantine();
    try {
      const haves =
        tips.length === 0
          ? undefined
          : await createHaveSource(snapshot, { theirs: context.theirs, signal: context.signal });
      const answer = await context.ask({
        ...request,
        wants,
        haves,
        clientShallow: snapshot.shallow,
      });
      try {
        const ingest = await receivePack(context, request, { snapshot, quarantine, answer });
        const shallow = await present(quarantine.objects, answer.shallow);
        quarantine.addShallow(shallow);
        await checkComplete(context, request, {
          snapshot,
          objects: quarantine.objects,
          ingest,
          wants,
          shallow,
        });
        await quarantine.publish();
        const refs = await moveRefs(context, request, updates);
        return { objectCount: ingest.objectCount, shallow, unshallow: answer.unshallow, refs };
      } finally {
        await answer.close();
      }
    } finally {
      await quarantine.discard();
    }
  } finally {
    snapshot.release();
  }
}

async function receivePack(
  { shown, signal }: FetchIntoContext,
  { limits, collisionDetection = true, onProgress }: FetchRequest,
  about: {
    readonly snapshot: Snapshot;
    readonly quarantine: Awaited<ReturnType<Repository["openQuarantine"]>>;
    readonly answer: PackAnswer;
  },
): Promise<IngestResult> {
  const { snapshot, quarantine, answer } = about;
  try {
    return await ingestPack({
      quarantine,
      objects: snapshot.objects,
      source: answer.pack,
      objectFormat: snapshot.objects.objectFormat,
      limits: { ...DEFAULT_LIMITS, ...limits },
      collisionDetection,
      maxInputSizeBytes: Infinity,
      signal,
      onProgress,
    });
  } catch (error) {
    throw withSender(shown, error);
  }
}

/** What is wrong with a pack is said of who has sent it. */
export function withSender(shown: string, error: unknown): unknown {
  if (!isGitwharfError(error) || error.kind !== "peer") return error;
  return new GitwharfError(error.code, `what ${shown} has sent is not taken: ${error.message}`, {
    cause: error,
    details: error.details,
  });
}

async function checkComplete(
  { shown, signal }: FetchIntoContext,
  { filter }: FetchRequest,
  about: {
    readonly snapshot: Snapshot;
    readonly objects: ObjectReader;
    readonly ingest: IngestResult;
    readonly wants: readonly ObjectId[];
    readonly shallow: readonly ObjectId[];
  },
): Promise<void> {
  const { snapshot, objects, ingest, wants, shallow } = about;
  const missing = await absent(objects, wants);
  if (missing !== undefined) throw incomplete(shown, missing);
  if (filter !== undefined) return;
  const answer = await checkConnectivity({
    objects,
    ingest,
    tips: wants,
    snapshot,
    isVisible: () => true,
    shallow: snapshot.shallow,
    newShallow: new Set(shallow),
    signal,
  });
  if (!answer.ok) throw incomplete(shown, answer.missing.oid);
}

export function incomplete(shown: string, oid: ObjectId): GitwharfError {
  return new GitwharfError(
    "client/bad-answer",
    `${shown} has not sent all that it should: object ${oid} is missing`,
  );
}

async function moveRefs(
  { signal }: FetchIntoContext,
  { into, atomic = false }: FetchRequest,
  updates: readonly RefUpdate[],
): Promise<readonly RefUpdateResult[]> {
  if (updates.length === 0) return [];
  return into.refs.transact({ updates, atomic, ...(signal === undefined ? {} : { signal }) });
}

async function present(objects: ObjectReader, oids: readonly ObjectId[]): Promise<readonly ObjectId[]> {
  const found: ObjectId[] = [];
  for (const oid of oids) {
    const has = objects.has(oid);
    if (isPromise(has) ? await has : has) found.push(oid);
  }
  return found;
}

async function absent(objects: ObjectReader, oids: readonly ObjectId[]): Promise<ObjectId | undefined> {
  for (const oid of oids) {
    const has = objects.has(oid);
    if (!(isPromise(has) ? await has : has)) return oid;
  }
  return undefined;
}
