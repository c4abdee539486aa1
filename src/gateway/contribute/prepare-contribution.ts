/**
 * From a pushed pack to rewritten commits, in a quarantine of a repository of its own that nobody finds and that goes with the
 * push: bytes set aside, bases fetched, objects checked, commits written anew. Nothing leaves this machine but questions for
 * ids of the upstream.
 */
import type { ByteSource } from "../../base/byte-streams.js";
import { type GitwharfError, isGitwharfError } from "../../base/errors.js";
import { DEFAULT_LIMITS, type Limits } from "../../base/limits.js";
import { isPromise } from "../../base/maybe-promise.js";
import type { RemoteRef } from "../../client/remote-refs.js";
import type { RemoteRepository } from "../../client/remote-repository.js";
import type { ListedPack } from "../../engine/plan-objects.js";
import { type IngestResult, ingestPack } from "../../engine/ingest/ingest-pack.js";
import { newObjectTest } from "../../engine/ingest/new-object-links.js";
import type { FsckPolicy } from "../../object/fsck/fsck-message.js";
import { hashBytesOf, type ObjectId } from "../../object/object-id.js";
import { formatEntry, formatPackHeader } from "../../pack/pack-writer.js";
import type { Quarantine } from "../../storage/contracts/quarantine.js";
import type { Snapshot } from "../../storage/contracts/repository.js";
import type { GatewayLimits } from "../gateway-options.js";
import { readCommitParts, type Person } from "../rewrite/commit-parts.js";
import { createKnownPeople, type KnownPeople } from "../rewrite/known-people.js";
import { DEFAULT_REWRITE_LIMITS, rewriteHistory } from "../rewrite/rewrite-history.js";
import { upstreamCommits } from "../upstream/known-commits.js";
import { bytesOf, fetchBases, namedBases } from "../upstream/thin-bases.js";
import { findPassedOn, showBytes } from "./passed-on-objects.js";
import { findPushedCommits } from "./pushed-commits.js";
import { refuse, refusePack } from "./refused.js";

export interface PrepareRequest {
  /** The pack, as it comes. */
  readonly source: ByteSource;
  /** What the branch is to be. */
  readonly tip: ObjectId;
  readonly upstream: RemoteRepository;
  /** What the upstream has. */
  readonly refs: readonly RemoteRef[];
  readonly quarantine: Quarantine;
  readonly snapshot: Snapshot;
  readonly identity: Person;
  readonly seconds: number;
  readonly isScrubbed: boolean;
  readonly isSquashed: boolean;
  readonly limits: GatewayLimits;
  readonly onProgress: (text: string) => void;
  readonly signal: AbortSignal;
}

export interface PreparedContribution {
  readonly tip: ObjectId;
  readonly commits: number;
  /** What the new commits stand on. */
  readonly boundary: readonly ObjectId[];
  /** Of the new tip. */
  readonly message: string;
  /** Whom the commits as they were have named. */
  readonly people: KnownPeople;
  readonly listed: ListedPack & { readonly oids: readonly ObjectId[] };
}

/** All rewritten commits together: messages are bounded by themselves, parents are not. */
const COMMITS_BYTES_MAX = 16 * 1024 * 1024;

/** As forges check. What a tree names that was not sent is the upstream's, checked or not when it came there. */
const FSCK: FsckPolicy = {
  severities: new Map([
    ["gitmodulesmissing", "ignore"],
    ["gitattributesmissing", "ignore"],
  ]),
  skipList: new Set(),
  strict: false,
};

/** @throws Refused, client/…, base/aborted, object/corrupt, storage/io */
export async function prepareContribution(request: PrepareRequest): Promise<PreparedContribution> {
  const { quarantine, tip, upstream, refs, limits, signal } = request;
  const { objects: empty } = request.snapshot;
  const ingest = await receive(request);
  const { objects } = quarantine;
  const isPushed = newObjectTest(ingest.links, objects);
  if (!isPushed(tip))
    throw refuse("nothing to contribute", "Every commit of this branch is in the upstream already.");
  const { commitsMax } = DEFAULT_REWRITE_LIMITS;
  const pushed = await findPushedCommits(objects, { tip, isPushed, commitsMax, signal });
  const isUpstream = await upstreamCommits(
    upstream,
    { ...pushed, quarantine },
    { refs, fetchedBytesMax: limits.fetchedBytesMax, signal },
  );
  if (isUpstream(tip))
    throw refuse("nothing to contribute", "Every commit of this branch is in the upstream already.");

  const people = createKnownPeople(request.identity);
  const written: { readonly oid: ObjectId; readonly entry: Buffer }[] = [];
  let writtenBytes = 0;
  const rewritten = await rewriteHistory({
    format: empty.objectFormat,
    tip,
    async read(oid) {
      if (!isPushed(oid) || isUpstream(oid)) return undefined;
      const read = quarantine.objects.read(oid);
      const object = isPromise(read) ? await read : read;
      if (object?.type !== "commit") throw refuse("not a commit", `${oid} stands for a commit and is none.`);
      for (const person of readCommitParts(object.data, empty.objectFormat).people) people.add(person);
      return object.data;
    },
    write(oid, data) {
      writtenBytes += data.length;
      if (writtenBytes > COMMITS_BYTES_MAX)
        throw refuse("commits too large", "The commits of this push are too large together.");
      written.push({ oid, entry: formatEntry("commit", data) });
    },
    identity: request.identity,
    seconds: request.seconds,
    isScrubbed: request.isScrubbed,
    isSquashed: request.isSquashed,
    limits: { commitBytesMax: limits.commitBytesMax },
    signal,
  }).catch(asRefusal);
  await keep(request, written);
  const commits = written.map(({ oid }) => oid);
  const others = await findPassedOn(quarantine.objects, {
    commits,
    isPushed,
    commitBytesMax: limits.commitBytesMax,
    signal,
  });
  return {
    tip: rewritten.tip,
    commits: rewritten.commits,
    boundary: rewritten.boundary,
    message: rewritten.message,
    people,
    listed: { oids: [...commits, ...others], bases: ingest.links.bases },
  };
}

/** The pack: set aside, looked through for what it stands on, taken. */
async function receive(request: PrepareRequest): Promise<IngestResult> {
  const { quarantine, snapshot, upstream, limits, signal, onProgress } = request;
  const { objectFormat } = snapshot.objects;
  const packLimits: Limits = {
    ...DEFAULT_LIMITS,
    packSizeBytesMax: limits.pushBytesMax,
    objectSizeBytesMax: limits.commitBytesMax,
    inflatedTotalBytesMax: limits.pushBytesMax * 20,
    packObjectsMax: 1_000_000,
  };
  const aside = await quarantine.createPack();
  try {
    for await (const chunk of request.source) {
      if (aside.sizeBytes + chunk.length > limits.pushBytesMax)
        throw refusePack("Push too large", `A push may have at most ${showBytes(limits.pushBytesMax)}.`);
      await aside.append(chunk);
    }
    const bytes = aside.range();
    const bases = await namedBases(bytes, { objectFormat, limits: packLimits, signal });
    const { fetchedBytesMax } = limits;
    await fetchBases(upstream, { bases, quarantine, snapshot, fetchedBytesMax });
    return await ingestPack({
      quarantine,
      objects: quarantine.objects,
      source: bytesOf(bytes),
      objectFormat,
      limits: packLimits,
      collisionDetection: true,
      fsck: FSCK,
      maxInputSizeBytes: limits.pushBytesMax,
      signal,
      onProgress,
    });
  } catch (error) {
    throw isGitwharfError(error) && error.kind === "peer" ? refusalOfPack(error) : error;
  } finally {
    await aside.abort();
  }
}

function refusalOfPack(error: GitwharfError): Error {
  if (error.code === "pack/missing-base")
    return refusePack(
      error.message,
      "The pack builds on objects that the upstream does not have. Fetch from it, rebase, then push again.",
    );
  return refusePack(error.message);
}

/** Of the rewriting, whose limits are the person's to keep. */
function asRefusal(error: unknown): never {
  if (isGitwharfError(error, "base/limit-exceeded", "object/malformed"))
    throw refuse(
      error.code === "base/limit-exceeded" ? "too large" : "malformed commit",
      `${error.message}.`,
    );
  throw error;
}

/** The new commits, beside what was pushed. */
async function keep(
  { quarantine, snapshot, limits, signal }: PrepareRequest,
  written: readonly { readonly entry: Buffer }[],
): Promise<void> {
  const { objectFormat } = snapshot.objects;
  const body = Buffer.concat([formatPackHeader(written.length), ...written.map(({ entry }) => entry)]);
  const trailer = Buffer.from(hashBytesOf(objectFormat, body), "hex");
  async function* source(): ByteSource {
    yield Buffer.concat([body, trailer]);
  }
  await ingestPack({
    quarantine,
    objects: quarantine.objects,
    source: source(),
    objectFormat,
    limits: { ...DEFAULT_LIMITS, objectSizeBytesMax: Math.max(limits.commitBytesMax, COMMITS_BYTES_MAX) },
    collisionDetection: true,
    maxInputSizeBytes: Infinity,
    signal,
  });
}
