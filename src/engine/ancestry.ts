/**
 * Ancestry between commits: is one behind the other? Unrelated histories are an answer, not an error.
 */
import { isPromise } from "../base/maybe-promise.js";
import type { ObjectId } from "../object/object-id.js";
import type { ObjectReader } from "../storage/contracts/object-reader.js";
import { CommitQueue } from "./fetch/commit-queue.js";
import { type CommitReader, createCommitReader } from "./fetch/commit-reader.js";
import { WorkBudget } from "./fetch/work-budget.js";

export interface AncestryOptions {
  /** Commits whose parents are absent. */
  readonly shallow?: ReadonlySet<ObjectId> | undefined;
  readonly signal?: AbortSignal | undefined;
}

const ONE = 1;
const TWO = 2;
const STALE = 4;

class Painted {
  readonly dateSeconds: number;
  readonly generation: number;
  readonly parents: readonly ObjectId[];
  flags: number;
  queued = true;
  constructor(dateSeconds: number, generation: number, parents: readonly ObjectId[], flags: number) {
    this.dateSeconds = dateSeconds;
    this.generation = generation;
    this.parents = parents;
    this.flags = flags;
  }
}

/**
 * True when `ancestor` is `descendant` or is reachable from it. False when either is absent or no commit.
 */
export async function isAncestor(
  objects: ObjectReader,
  ancestor: ObjectId,
  descendant: ObjectId,
  options: AncestryOptions = {},
): Promise<boolean> {
  if (ancestor === descendant) return (await createCommitReader(objects).read(ancestor)) !== undefined;
  const reader = createCommitReader(objects, options.shallow);
  return isReached(reader, ancestor, descendant, options);
}

/**
 * Paints the ancestors of both until `ancestor` is reached from `descendant` or nothing is left that only one side
 * reaches: the path to it always has a commit that is painted once only, so the end is not missed even when clocks
 * were wrong.
 */
async function isReached(
  reader: CommitReader,
  ancestor: ObjectId,
  descendant: ObjectId,
  options: AncestryOptions,
): Promise<boolean> {
  const budget = new WorkBudget({ signal: options.signal });
  const nodes = new Map<ObjectId, Painted>();
  const queue = new CommitQueue<Painted>();
  /** Commits in the queue that are not stale. */
  let fresh = 0;
  const reach = async (oid: ObjectId, flags: number): Promise<void> => {
    const known = nodes.get(oid);
    if (known === undefined) {
      const read = reader.read(oid);
      const links = isPromise(read) ? await read : read;
      if (links === undefined) return;
      const node = new Painted(links.dateSeconds, links.generation, links.parents, flags);
      nodes.set(oid, node);
      queue.push(node);
      if ((flags & STALE) === 0) fresh++;
      return;
    }
    if ((known.flags & flags) === flags) return;
    const wasFresh = known.queued && (known.flags & STALE) === 0;
    known.flags |= flags;
    if (!known.queued) {
      known.queued = true;
      queue.push(known);
      if ((known.flags & STALE) === 0) fresh++;
    } else if (wasFresh && (known.flags & STALE) !== 0) {
      fresh--;
    }
  };
  await reach(descendant, ONE);
  await reach(ancestor, TWO);
  while (fresh > 0) {
    const node = queue.pop();
    if (node === undefined) break;
    if (budget.spend(1)) await budget.pause();
    node.queued = false;
    let flags = node.flags & (ONE | TWO | STALE);
    if ((flags & STALE) === 0) fresh--;
    if (flags === (ONE | TWO)) flags |= STALE;
    for (const parent of node.parents) {
      await reach(parent, flags);
      if (parent === ancestor && (flags & ONE) !== 0 && nodes.has(parent)) return true;
    }
  }
  return false;
}
