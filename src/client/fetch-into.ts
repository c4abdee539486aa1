/**
 * Fetching into a repository: what is wanted and not here is received into a quarantine, checked like a push, published, and
 * only then do refs move. What fails, or is given up, leaves nothing.
 */
import { areReachable } from "../engine/reachability.js";
import type { ObjectId } from "../object/object-id.js";
import type { RefUpdate, RefUpdateResult } from "../storage/contracts/ref-store.js";
import type { Repository } from "../storage/contracts/repository.js";
import { createHaveSource } from "./have-source.js";
import { type FetchWishes, type ReceiveContext, receiveInto, type ReceiveResult } from "./receive-into.js";

export interface FetchRequest extends FetchWishes {
  /** Closed by who has opened it. */
  readonly into: Repository;
  /** Refs that move once everything is there, each as it says. @default none: nothing keeps the objects then */
  readonly updates?: readonly RefUpdate[] | undefined;
  /** All refs or none. @default false */
  readonly atomic?: boolean | undefined;
}

/** `objectCount` 0: all was here already. */
export interface FetchResult extends ReceiveResult {
  /** One for each of `updates`, in order. */
  readonly refs: readonly RefUpdateResult[];
}

export interface FetchIntoContext extends ReceiveContext {
  /** Ids of the server's refs, as far as they are known. */
  readonly theirs: Iterable<ObjectId>;
}

const NOTHING: ReceiveResult = { objectCount: 0, shallow: [], unshallow: [] };

/** @throws client/…, protocol/unsupported, pack/…, object/…, base/limit-exceeded, base/aborted, storage/io */
export async function fetchInto(context: FetchIntoContext, request: FetchRequest): Promise<FetchResult> {
  const { into, depth, since, not = [] } = request;
  const { signal, theirs } = context;
  const snapshot = await into.snapshot();
  try {
    const deepens = depth !== undefined || since !== undefined || not.length > 0;
    const tips = [...new Set(snapshot.refs.all.map(({ oid }) => oid))];
    const all = [...new Set(request.wants)];
    // What is here by accident may be incomplete.
    const wants = deepens ? all : await areReachable(snapshot, all, tips, signal);
    if (wants.length === 0) return { ...NOTHING, refs: await moveRefs(context, request) };
    const quarantine = await into.openQuarantine();
    try {
      const haves = tips.length === 0 ? undefined : await createHaveSource(snapshot, { theirs, signal });
      const received = await receiveInto(context, { ...request, wants, haves, snapshot, quarantine });
      await quarantine.publish();
      return { ...received, refs: await moveRefs(context, request) };
    } finally {
      await quarantine.discard();
    }
  } finally {
    snapshot.release();
  }
}

async function moveRefs(
  { signal }: FetchIntoContext,
  { into, updates = [], atomic = false }: FetchRequest,
): Promise<readonly RefUpdateResult[]> {
  if (updates.length === 0) return [];
  return into.refs.transact({ updates, atomic, ...(signal === undefined ? {} : { signal }) });
}
