/**
 * The rewritten commits, to a branch of the fork: what was rewritten, what the person has sent, and nothing else. A fork that stands
 * still while its upstream goes on may lack what the commits stand on: then that comes from the upstream, once, and goes along.
 */
import { GitwharfError } from "../../base/errors.js";
import { DEFAULT_LIMITS } from "../../base/limits.js";
import type { PushedUpdate } from "../../client/push-to.js";
import type { RemoteRepository } from "../../client/remote-repository.js";
import { ingestPack } from "../../engine/ingest/ingest-pack.js";
import type { ObjectId } from "../../object/object-id.js";
import type { Quarantine } from "../../storage/contracts/quarantine.js";
import type { Snapshot } from "../../storage/contracts/repository.js";
import type { PreparedContribution } from "./prepare-contribution.js";
import { refuse } from "./refused.js";

export interface ForkPush {
  readonly fork: RemoteRepository;
  readonly upstream: RemoteRepository;
  readonly branch: string;
  /** It is there already and moves, whatever is lost. */
  readonly isUpdate: boolean;
  readonly prepared: PreparedContribution;
  readonly quarantine: Quarantine;
  readonly snapshot: Snapshot;
  /** Of what a fork lacks. */
  readonly bytesMax: number;
  readonly signal: AbortSignal;
}

/** @throws Refused, client/…, base/aborted, storage/io */
export async function pushToFork(about: ForkPush): Promise<void> {
  const first = await push(about, about.prepared.listed.oids);
  if (first.ok) return;
  // Whatever its words are for it, a repository that lacks something can be helped.
  if (first.by === "server" && about.prepared.boundary.length > 0 && isOfObjects(first.reason)) {
    const lacking = await fetchLacking(about);
    if (lacking.length > 0) {
      const second = await push(about, [...lacking, ...about.prepared.listed.oids]);
      if (second.ok) return;
      throw refusedByFork(second.reason);
    }
  }
  throw refusedByFork(first.reason);
}

async function push(about: ForkPush, oids: readonly ObjectId[]): Promise<PushedUpdate> {
  const { fork, branch, isUpdate, prepared, quarantine, snapshot } = about;
  const name = `refs/heads/${branch}`;
  const { updates } = await fork.push({
    from: { head: snapshot.head, refs: snapshot.refs, objects: quarantine.objects, shallow: new Set() },
    updates: [{ name, newOid: prepared.tip, ...(isUpdate ? { force: true } : { expected: null }) }],
    listed: { ...prepared.listed, oids },
  });
  const [update] = updates;
  if (update === undefined)
    throw new GitwharfError("client/bad-answer", "the fork did not say what became of the branch");
  return update;
}

function isOfObjects(reason: string): boolean {
  return /unpack|missing|object|index-pack|connectivity|bad pack|reachable|incomplete/i.test(reason);
}

/** What lies between what the fork has and what the commits stand on. */
async function fetchLacking(about: ForkPush): Promise<readonly ObjectId[]> {
  const { fork, upstream, prepared, quarantine, bytesMax, signal } = about;
  const theirs = (await fork.listRefs()).refs.map(({ oid }) => oid);
  let at = 0;
  const answer = await upstream.fetchPack({
    wants: prepared.boundary,
    haves: {
      async next(count) {
        return theirs.slice(at, (at += count));
      },
      acknowledge: () => undefined,
    },
    thinPack: false,
  });
  try {
    const { objects } = quarantine;
    const { pack } = await ingestPack({
      quarantine,
      objects,
      source: answer.pack,
      objectFormat: objects.objectFormat,
      limits: { ...DEFAULT_LIMITS, packSizeBytesMax: bytesMax },
      collisionDetection: true,
      maxInputSizeBytes: Infinity,
      signal,
    });
    await answer.end();
    return pack === undefined
      ? []
      : Array.from({ length: pack.objectCount }, (_, position) => pack.index.oidAt(position));
  } finally {
    await answer.close();
  }
}

function refusedByFork(reason: string): Error {
  return refuse("refused by the forge", `The forge does not take the branch: ${reason.slice(0, 300)}`);
}
