/**
 * Ancestry between commits: is one behind the other, and where do two meet. Unrelated histories have no merge base;
 * that is an answer, not an error.
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
const RESULT = 8;

class Painted {
  readonly oid: ObjectId;
  readonly dateSeconds: number;
  readonly generation: number;
  readonly parents: readonly ObjectId[];
  flags: number;
  queued = true;
  constructor(
    oid: ObjectId,
    dateSeconds: number,
    generation: number,
    parents: readonly ObjectId[],
    flags: number,
  ) {
    this.oid = oid;
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
  const painted = await paintDown(reader, [descendant], [ancestor], options, ancestor);
  return painted.reached;
}

/**
 * The best common ancestors of two commits: common ancestors that are not behind another one. Empty when the
 * histories are unrelated, or when one of the two is absent. Newest first.
 */
export async function mergeBases(
  objects: ObjectReader,
  one: ObjectId,
  two: ObjectId,
  options: AncestryOptions = {},
): Promise<ObjectId[]> {
  const reader = createCommitReader(objects, options.shallow);
  if (one === two) return (await reader.read(one)) === undefined ? [] : [one];
  const candidates = (await paintDown(reader, [one], [two], options)).bases;
  if (candidates.length < 2) return candidates;
  // With wrong clocks a candidate may be behind another: paint each against the rest and drop those.
  const kept: ObjectId[] = [];
  for (const candidate of candidates) {
    const others = candidates.filter((other) => other !== candidate);
    let redundant = false;
    for (const other of others) {
      if (await isAncestor(objects, candidate, other, options)) {
        redundant = true;
        break;
      }
    }
    if (!redundant) kept.push(candidate);
  }
  return kept;
}

/**
 * Paints the ancestors of `ones` and of `twos` until nothing is left that only one side reaches. `until` ends it
 * early, as soon as that commit (one of `twos`) is reached from `ones`: the path to it always has a commit that is
 * painted once only, so the end is not missed even when clocks were wrong.
 */
async function paintDown(
  reader: CommitReader,
  ones: readonly ObjectId[],
  twos: readonly ObjectId[],
  options: AncestryOptions,
  until?: ObjectId,
): Promise<{ readonly bases: ObjectId[]; readonly reached: boolean }> {
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
      const node = new Painted(oid, links.dateSeconds, links.generation, links.parents, flags);
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
  for (const oid of ones) await reach(oid, ONE);
  for (const oid of twos) await reach(oid, TWO);
  const results: Painted[] = [];
  while (fresh > 0) {
    const node = queue.pop();
    if (node === undefined) break;
    if (budget.spend(1)) await budget.pause();
    node.queued = false;
    let flags = node.flags & (ONE | TWO | STALE);
    if ((flags & STALE) === 0) fresh--;
    if (flags === (ONE | TWO)) {
      if ((node.flags & RESULT) === 0) {
        node.flags |= RESULT;
        results.push(node);
      }
      flags |= STALE;
    }
    for (const parent of node.parents) {
      await reach(parent, flags);
      if (parent === until && (flags & ONE) !== 0 && nodes.has(parent)) return { bases: [], reached: true };
    }
  }
  const bases = results.filter((node) => (node.flags & STALE) === 0).map((node) => node.oid);
  return { bases, reached: false };
}
