/**
 * Ancestry between commits: is one behind the other? Unrelated histories are an answer, not an error.
 */
import type { ObjectId } from "../object/object-id.js";
import type { ObjectReader } from "../storage/contracts/object-reader.js";
import { CommitQueue } from "./fetch/commit-queue.js";
import { type CommitReader, createCommitReader } from "./fetch/commit-reader.js";
import { WorkBudget } from "./fetch/work-budget.js";
import { flagsForParents, ONE, PaintedWalk, TWO } from "./painted-walk.js";

export interface AncestryOptions {
  /** Commits whose parents are absent. */
  readonly shallow?: ReadonlySet<ObjectId> | undefined;
  readonly signal?: AbortSignal | undefined;
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
  const walk = new PaintedWalk(reader, new CommitQueue());
  await walk.reach(descendant, ONE);
  await walk.reach(ancestor, TWO);
  for (let node = walk.next(); node !== undefined; node = walk.next()) {
    if (budget.spend(1)) await budget.pause();
    const flags = flagsForParents(node);
    for (const parent of node.parents) {
      await walk.reach(parent, flags);
      if (parent === ancestor && (flags & ONE) !== 0 && walk.has(parent)) return true;
    }
  }
  return false;
}
