/**
 * Receiving what another server sends into a quarantine, and checking it like a push. Whether it is published is the caller's
 * business: `fetch-into.ts` does, a cache that is thrown away need not.
 */
import { GitwharfError, isGitwharfError } from "../base/errors.js";
import { DEFAULT_LIMITS, type Limits } from "../base/limits.js";
import { isPromise } from "../base/maybe-promise.js";
import { checkConnectivity } from "../engine/connectivity.js";
import { type IngestResult, ingestPack } from "../engine/ingest/ingest-pack.js";
import { parseCommitLinks } from "../object/commit.js";
import type { ObjectId } from "../object/object-id.js";
import type { ObjectReader } from "../storage/contracts/object-reader.js";
import type { Quarantine } from "../storage/contracts/quarantine.js";
import type { Snapshot } from "../storage/contracts/repository.js";
import type { PackAnswer } from "./pack-answer.js";
import type { PackRequest, ShallowWish } from "./pack-request.js";

/** What a fetch asks for and how it is taken, wherever it goes. */
export interface FetchWishes extends ShallowWish {
  /** Objects that the server names: ids of its refs, or others where it allows that. */
  readonly wants: readonly ObjectId[];
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

export interface ReceiveRequest extends FetchWishes, Pick<PackRequest, "haves" | "thinPack"> {
  /** Of the repository of `snapshot`; published or discarded by who has opened it. Others may have put something into it before. */
  readonly quarantine: Quarantine;
  /**
   * What is here already; not released before the end. Without a filter, all that comes has to lead to what its refs reach, or to what
   * comes with it.
   */
  readonly snapshot: Pick<Snapshot, "objects" | "refs" | "head" | "alternateTips" | "shallow">;
}

export interface ReceiveResult {
  /** That came. */
  readonly objectCount: number;
  /** Commits whose parents are not here from now on; the quarantine knows of them, and of the next. */
  readonly shallow: readonly ObjectId[];
  /** Commits of `snapshot.shallow` whose parents have come. */
  readonly unshallow: readonly ObjectId[];
}

export interface ReceiveContext {
  readonly shown: string;
  readonly ask: (request: PackRequest) => Promise<PackAnswer>;
  readonly signal: AbortSignal | undefined;
}

/** @throws client/…, protocol/unsupported, pack/…, object/…, base/limit-exceeded, base/aborted, storage/io */
export async function receiveInto(context: ReceiveContext, request: ReceiveRequest): Promise<ReceiveResult> {
  const { snapshot, quarantine, haves, thinPack, wants, depth, since, not, filter, includeTag } = request;
  const answer = await context.ask({
    wants: [...new Set(wants)],
    haves,
    thinPack,
    depth,
    since,
    not,
    filter,
    includeTag,
    clientShallow: snapshot.shallow,
  });
  try {
    const ingest = await receivePack(context, request, answer);
    await answer.end();
    const shallow = await boundaryOf(request, answer.shallow);
    const unshallow = [...new Set(answer.unshallow)].filter((oid) => snapshot.shallow.has(oid));
    quarantine.addShallow(shallow);
    quarantine.removeShallow(unshallow);
    await checkComplete(context, request, { ingest, shallow, unshallow });
    return { objectCount: ingest.objectCount, shallow, unshallow };
  } finally {
    await answer.close();
  }
}

async function receivePack(
  { shown, signal }: ReceiveContext,
  { quarantine, limits, collisionDetection = true, onProgress }: ReceiveRequest,
  { pack }: PackAnswer,
): Promise<IngestResult> {
  try {
    return await ingestPack({
      quarantine,
      // With what came before: deltas may stand on it.
      objects: quarantine.objects,
      source: pack,
      objectFormat: quarantine.objects.objectFormat,
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

/**
 * Where the history ends from now on, as the server has told. Of commits that were here before, those alone that lack a
 * parent: nobody else cuts off what this repository has.
 *
 * Differs from git, which lets `fetch --depth` shorten a history.
 */
async function boundaryOf(
  { snapshot, quarantine }: ReceiveRequest,
  told: readonly ObjectId[],
): Promise<readonly ObjectId[]> {
  const { objects } = quarantine;
  const boundary: ObjectId[] = [];
  for (const oid of new Set(told)) {
    if (snapshot.shallow.has(oid)) continue;
    const isOld = await isThere(snapshot.objects, oid);
    if (isOld ? await lacksParent(objects, oid) : await isThere(objects, oid)) boundary.push(oid);
  }
  return boundary;
}

async function lacksParent(objects: ObjectReader, oid: ObjectId): Promise<boolean> {
  for (const parent of await parentsOf(objects, oid)) if (!(await isThere(objects, parent))) return true;
  return false;
}

/** Of what is no commit: none. */
async function parentsOf(objects: ObjectReader, oid: ObjectId): Promise<readonly ObjectId[]> {
  const object = await objects.read(oid);
  return object?.type === "commit" ? parseCommitLinks(object.data, objects.objectFormat).parents : [];
}

async function checkComplete(
  { shown, signal }: ReceiveContext,
  { snapshot, quarantine, filter, wants }: ReceiveRequest,
  about: Pick<ReceiveResult, "shallow" | "unshallow"> & { readonly ingest: IngestResult },
): Promise<void> {
  const { ingest, shallow, unshallow } = about;
  const { objects } = quarantine;
  // Parents that were missing so far are wanted as well.
  const parents: ObjectId[] = [];
  for (const oid of unshallow) parents.push(...(await parentsOf(objects, oid)));
  const tips = [...new Set([...wants, ...parents])];
  for (const oid of tips) if (!(await isThere(objects, oid))) throw incomplete(shown, oid);
  if (filter !== undefined) return;
  const answer = await checkConnectivity({
    objects,
    ingest,
    tips,
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

async function isThere(objects: ObjectReader, oid: ObjectId): Promise<boolean> {
  const has = objects.has(oid);
  return isPromise(has) ? await has : has;
}
