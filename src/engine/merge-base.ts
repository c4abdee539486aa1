/**
 * The merge base of two commits as `git merge-base` names it: of the best common ancestors (those that are behind no
 * other common ancestor) the latest, and among equally late ones the first that a walk by date comes upon.
 * Specification: git-merge-base.
 */
import { GitwharfError } from "../base/errors.js";
import { isPromise } from "../base/maybe-promise.js";
import type { ObjectId } from "../object/object-id.js";
import type { ObjectReader } from "../storage/contracts/object-reader.js";
import { type AncestryOptions, isAncestor } from "./ancestry.js";
import { type CommitReader, createCommitReader } from "./fetch/commit-reader.js";
import { WorkBudget } from "./fetch/work-budget.js";

export interface MergeBaseOptions extends AncestryOptions {
  /** Commits that may be looked at. @default 2,000,000 */
  readonly commitsMax?: number;
}

const COMMITS_MAX = 2_000_000;
/** Common ancestors that are compared with each other: a history that was made to have more is refused. */
const CANDIDATES_MAX = 32;

/**
 * @returns undefined for histories that have nothing in common, and when either is absent or no commit
 * @throws base/limit-exceeded, base/aborted
 */
export async function findMergeBase(
  objects: ObjectReader,
  one: ObjectId,
  two: ObjectId,
  options: MergeBaseOptions = {},
): Promise<ObjectId | undefined> {
  const reader = createCommitReader(objects, options.shallow);
  if (one === two) return (await reader.read(one)) === undefined ? undefined : one;
  const candidates = await findCommon(reader, one, two, options);
  if (candidates.length > CANDIDATES_MAX)
    throw tooMuch(`${candidates.length} common ancestors of ${one} and ${two} are to be compared`);
  // What is behind another candidate is none of the best; wrong clocks bring those up, too.
  for (const oid of candidates) {
    let isBest = true;
    for (const other of candidates)
      if (other !== oid && isBest) isBest = !(await isAncestor(objects, oid, other, options));
    if (isBest) return oid;
  }
  return undefined;
}

const ONE = 1;
const TWO = 2;
const STALE = 4;

class Painted {
  readonly oid: ObjectId;
  readonly dateSeconds: number;
  readonly parents: readonly ObjectId[];
  flags: number;
  queued = true;
  isFound = false;
  constructor(
    oid: ObjectId,
    links: { readonly dateSeconds: number; readonly parents: readonly ObjectId[] },
    flags: number,
  ) {
    this.oid = oid;
    this.dateSeconds = links.dateSeconds;
    this.parents = links.parents;
    this.flags = flags;
  }
}

/** Common ancestors that no other one covered when they were found, latest first. */
async function findCommon(
  reader: CommitReader,
  one: ObjectId,
  two: ObjectId,
  { signal, commitsMax = COMMITS_MAX }: MergeBaseOptions,
): Promise<readonly ObjectId[]> {
  const budget = new WorkBudget({ signal });
  const nodes = new Map<ObjectId, Painted>();
  const queue = new DateQueue();
  const found: Painted[] = [];
  let pushed = 0;
  /** Commits in the queue that are not stale. */
  let fresh = 0;
  const reach = async (oid: ObjectId, flags: number): Promise<void> => {
    const known = nodes.get(oid);
    if (known === undefined) {
      const read = reader.read(oid);
      const links = isPromise(read) ? await read : read;
      if (links === undefined) return;
      if (nodes.size >= commitsMax) throw tooMuch(`the merge base of ${one} and ${two} is further away`);
      const node = new Painted(oid, links, flags);
      nodes.set(oid, node);
      queue.push(node, pushed++);
      if ((flags & STALE) === 0) fresh++;
      return;
    }
    if ((known.flags & flags) === flags) return;
    const wasFresh = known.queued && (known.flags & STALE) === 0;
    known.flags |= flags;
    if (!known.queued) {
      known.queued = true;
      queue.push(known, pushed++);
      if ((known.flags & STALE) === 0) fresh++;
    } else if (wasFresh && (known.flags & STALE) !== 0) fresh--;
  };
  await reach(one, ONE);
  await reach(two, TWO);
  while (fresh > 0) {
    const node = queue.pop();
    if (node === undefined) break;
    if (budget.spend(1)) await budget.pause();
    node.queued = false;
    let flags = node.flags & (ONE | TWO | STALE);
    if ((flags & STALE) === 0) fresh--;
    if (flags === (ONE | TWO)) {
      if (!node.isFound) {
        node.isFound = true;
        found.push(node);
      }
      flags |= STALE;
    }
    for (const parent of node.parents) await reach(parent, flags);
  }
  return found
    .filter((node) => (node.flags & STALE) === 0)
    .toSorted((a, b) => b.dateSeconds - a.dateSeconds)
    .map(({ oid }) => oid);
}

interface Queued {
  readonly node: Painted;
  readonly at: number;
}

/** Latest first; of equally late ones that which came first. A binary heap. */
class DateQueue {
  readonly #heap: Queued[] = [];

  push(node: Painted, at: number): void {
    const heap = this.#heap;
    const item = { node, at };
    let place = heap.length;
    heap.push(item);
    while (place > 0) {
      const above = (place - 1) >>> 1;
      const parent = heap[above] as Queued;
      if (!isBefore(item, parent)) break;
      heap[place] = parent;
      place = above;
    }
    heap[place] = item;
  }

  pop(): Painted | undefined {
    const heap = this.#heap;
    const top = heap[0];
    const last = heap.pop();
    if (top === undefined || last === undefined || heap.length === 0) return top?.node;
    let place = 0;
    for (;;) {
      let child = place * 2 + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1] as Queued, heap[child] as Queued)) child++;
      const below = heap[child] as Queued;
      if (!isBefore(below, last)) break;
      heap[place] = below;
      place = child;
    }
    heap[place] = last;
    return top.node;
  }
}

function isBefore(a: Queued, b: Queued): boolean {
  return a.node.dateSeconds === b.node.dateSeconds ? a.at < b.at : a.node.dateSeconds > b.node.dateSeconds;
}

function tooMuch(what: string): GitwharfError {
  return new GitwharfError("base/limit-exceeded", `${what}, which is more than this server looks for`);
}
