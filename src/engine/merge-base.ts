/**
 * The merge base of two commits as `git merge-base` names it: of the best common ancestors (those that are behind no
 * other common ancestor) the latest, and among equally late ones the first that a walk by date comes upon.
 * Specification: git-merge-base.
 */
import { GitwharfError } from "../base/errors.js";
import type { ObjectId } from "../object/object-id.js";
import type { ObjectReader } from "../storage/contracts/object-reader.js";
import { type AncestryOptions, isAncestor } from "./ancestry.js";
import { type CommitReader, createCommitReader } from "./fetch/commit-reader.js";
import { WorkBudget } from "./fetch/work-budget.js";
import { flagsForParents, ONE, type Painted, PaintedWalk, STALE, TWO } from "./painted-walk.js";

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

/** Common ancestors that no other one covered when they were found, latest first. */
async function findCommon(
  reader: CommitReader,
  one: ObjectId,
  two: ObjectId,
  { signal, commitsMax = COMMITS_MAX }: MergeBaseOptions,
): Promise<readonly ObjectId[]> {
  const budget = new WorkBudget({ signal });
  const walk = new PaintedWalk(reader, new DateQueue());
  const found = new Set<Painted>();
  await walk.reach(one, ONE);
  await walk.reach(two, TWO);
  for (let node = walk.next(); node !== undefined; node = walk.next()) {
    if (budget.spend(1)) await budget.pause();
    if (node.flags === (ONE | TWO)) found.add(node);
    const flags = flagsForParents(node);
    for (const parent of node.parents) {
      await walk.reach(parent, flags);
      if (walk.size > commitsMax) throw tooMuch(`the merge base of ${one} and ${two} is further away`);
    }
  }
  return [...found]
    .filter((node) => (node.flags & STALE) === 0)
    .toSorted((a, b) => b.dateSeconds - a.dateSeconds)
    .map(({ oid }) => oid);
}

/** Latest first; of equally late ones that which came first. A binary heap. */
class DateQueue {
  readonly #heap: Painted[] = [];

  push(item: Painted): void {
    const heap = this.#heap;
    let place = heap.length;
    heap.push(item);
    while (place > 0) {
      const above = (place - 1) >>> 1;
      const parent = heap[above] as Painted;
      if (!isLater(item, parent)) break;
      heap[place] = parent;
      place = above;
    }
    heap[place] = item;
  }

  pop(): Painted | undefined {
    const heap = this.#heap;
    const top = heap[0];
    const last = heap.pop();
    if (top === undefined || last === undefined || heap.length === 0) return top;
    let place = 0;
    for (;;) {
      let child = place * 2 + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isLater(heap[child + 1] as Painted, heap[child] as Painted)) child++;
      const below = heap[child] as Painted;
      if (!isLater(below, last)) break;
      heap[place] = below;
      place = child;
    }
    heap[place] = last;
    return top;
  }
}

function isLater(a: Painted, b: Painted): boolean {
  return a.dateSeconds === b.dateSeconds ? a.order < b.order : a.dateSeconds > b.dateSeconds;
}

function tooMuch(what: string): GitwharfError {
  return new GitwharfError("base/limit-exceeded", `${what}, which is more than this server looks for`);
}
