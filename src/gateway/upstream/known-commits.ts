/**
 * Which of the pushed commits the upstream has already, and whether it has what they stand on. Two questions at most:
 *
 * 1. The commits that the pack stands on are wanted, one commit deep and without trees, and the pushed ones are told as haves:
 *    that the upstream sends something means that it has the first, what it acknowledges of the others that it may have them.
 * 2. Only where it acknowledged some: the commits of its branches from there on, without trees. A forge acknowledges what any
 *    fork of the repository has, the person's own among them, so what is not on a branch is not the upstream's.
 */
import { GitwharfError, isGitwharfError } from "../../base/errors.js";
import { DEFAULT_LIMITS } from "../../base/limits.js";
import type { RemoteRef } from "../../client/remote-refs.js";
import type { RemoteRepository } from "../../client/remote-repository.js";
import type { HaveSource } from "../../client/have-source.js";
import { ingestPack } from "../../engine/ingest/ingest-pack.js";
import type { ObjectId } from "../../object/object-id.js";
import type { Pack } from "../../pack/pack.js";
import type { Quarantine } from "../../storage/contracts/quarantine.js";
import { refuse } from "../contribute/refused.js";

export interface PushedHistory {
  /** Ids of the pack's commits; some are enough. */
  readonly commits: readonly ObjectId[];
  /** That they stand on and that are not in the pack. */
  readonly boundary: readonly ObjectId[];
  readonly quarantine: Quarantine;
}

/** Branches whose commits are asked for; the first ones. */
const BRANCHES_MAX = 2000;
const BOUNDARY_MAX = 1000;

/**
 * @param refs what the upstream has
 * @returns whether a pushed commit is the upstream's
 * @throws Refused, client/…, base/limit-exceeded, base/aborted, storage/io
 */
export async function upstreamCommits(
  upstream: RemoteRepository,
  history: PushedHistory,
  about: {
    readonly refs: readonly RemoteRef[];
    readonly fetchedBytesMax: number;
    readonly signal: AbortSignal;
  },
): Promise<(oid: ObjectId) => boolean> {
  const { refs } = about;
  const named = new Set(refs.map(({ oid, peeled }) => peeled ?? oid));
  const tips = [
    ...new Set(refs.filter(({ name }) => name.startsWith("refs/heads/")).map(({ oid }) => oid)),
  ].slice(0, BRANCHES_MAX);
  if (history.boundary.length > BOUNDARY_MAX)
    throw refuse("too many starting points", `These commits stand on more than ${BOUNDARY_MAX} others.`);
  const isTip = (oid: ObjectId): boolean => named.has(oid);
  if (!(await mayHaveSome(upstream, history, tips))) return isTip;
  const pack = await fetchBranches(upstream, history, { ...about, tips });
  return (oid) => isTip(oid) || (pack !== undefined && pack.index.find(oid) >= 0);
}

async function mayHaveSome(
  upstream: RemoteRepository,
  { commits, boundary }: PushedHistory,
  tips: readonly ObjectId[],
): Promise<boolean> {
  const wants = boundary.length > 0 ? boundary : tips.slice(0, 1);
  if (wants.length === 0) return false;
  const told = havesOf(commits);
  try {
    const answer = await upstream.fetchPack({ wants, haves: told, depth: 1, filter: "tree:0" });
    await answer.close();
  } catch (error) {
    // A forge that knows neither depth nor filters judges by itself what it is sent.
    if (isGitwharfError(error, "protocol/unsupported")) return false;
    if (!isGitwharfError(error, "client/refused") || boundary.length === 0) throw error;
    throw refuse(
      "unknown starting point",
      "The upstream does not have the commits that yours stand on. Fetch from it and rebase:",
      "  git pull --rebase, then push again",
    );
  }
  return told.hasAcknowledged;
}

async function fetchBranches(
  upstream: RemoteRepository,
  { boundary, quarantine }: PushedHistory,
  about: {
    readonly tips: readonly ObjectId[];
    readonly fetchedBytesMax: number;
    readonly signal: AbortSignal;
  },
): Promise<Pack | undefined> {
  const { tips, fetchedBytesMax, signal } = about;
  const { objects } = quarantine;
  const answer = await upstream.fetchPack({
    wants: tips,
    ...(boundary.length === 0 ? {} : { haves: havesOf(boundary) }),
    filter: "tree:0",
  });
  try {
    const { pack } = await ingestPack({
      quarantine,
      objects,
      source: answer.pack,
      objectFormat: objects.objectFormat,
      limits: { ...DEFAULT_LIMITS, packSizeBytesMax: fetchedBytesMax },
      collisionDetection: true,
      maxInputSizeBytes: Infinity,
      signal,
    });
    await answer.end();
    return pack;
  } catch (error) {
    if (!(error instanceof GitwharfError) || error.code !== "base/limit-exceeded") throw error;
    throw refuse(
      "too far behind",
      "These commits hold much that the upstream has already. Fetch from it first, so that git sends only yours:",
      "  git fetch, then push again",
    );
  } finally {
    await answer.close();
  }
}

function havesOf(oids: readonly ObjectId[]): HaveSource & { readonly hasAcknowledged: boolean } {
  let at = 0;
  let hasAcknowledged = false;
  return {
    get hasAcknowledged() {
      return hasAcknowledged;
    },
    async next(count) {
      const some = oids.slice(at, at + count);
      // Nothing is acknowledged of a last batch, which is one that is not full: said twice, the same is heard once.
      if (at === 0 && some.length > 0) while (some.length < count) some.push(some[0] ?? "");
      at += count;
      return some;
    },
    acknowledge() {
      hasAcknowledged = true;
    },
  };
}
