/**
 * Commits as columns: what a commit-graph is made of. A row's parents are named by number, so a million commits are some
 * typed arrays and no objects.
 */
import { GitwharfError } from "../base/errors.js";
import type { ObjectFormat } from "../object/object-format.js";

export interface CommitColumns {
  readonly objectFormat: ObjectFormat;
  readonly count: number;
  /** Raw ids, ascending, each once. */
  readonly oids: Uint8Array;
  /** Raw ids of the root trees. */
  readonly trees: Uint8Array;
  /** Committer's times, seconds since 1970. */
  readonly dates: Float64Array;
  /**
   * Row i's parents are `parents[parentStarts[i]]` to `parents[parentStarts[i + 1] - 1]`, in order: numbers of rows, or as
   * `below` says.
   */
  readonly parentStarts: Uint32Array;
  readonly parents: Uint32Array;
  /**
   * How many commits the layers of a commit-graph have upon which these will stand: numbers below it are positions in them,
   * and it is to be taken from those of rows. @default 0
   */
  readonly below?: number;
}

/** All rows, each behind its parents. @throws object/corrupt when a commit is its own ancestor */
export function orderParentsFirst(
  commits: Pick<CommitColumns, "count" | "parentStarts" | "parents" | "below">,
): Uint32Array {
  const { count, parentStarts, parents, below = 0 } = commits;
  const order = new Uint32Array(count);
  let ordered = 0;
  /** 0 not met, 1 on the stack, 2 in the order. */
  const state = new Uint8Array(count);
  const stack = new Uint32Array(count);
  /** By row: the next of its parents to be looked at. */
  const next = parentStarts.slice(0, count);
  for (let first = 0; first < count; first++) {
    if (state[first] !== 0) continue;
    let depth = 1;
    stack[0] = first;
    state[first] = 1;
    while (depth > 0) {
      const row = stack[depth - 1] as number;
      const at = next[row] as number;
      if (at === parentStarts[row + 1]) {
        state[row] = 2;
        order[ordered++] = row;
        depth--;
        continue;
      }
      next[row] = at + 1;
      const parent = (parents[at] as number) - below;
      if (parent < 0 || state[parent] === 2) continue;
      if (state[parent] === 1)
        throw new GitwharfError("object/corrupt", "a commit is its own ancestor; run 'gitwharf fsck'");
      state[parent] = 1;
      stack[depth++] = parent;
    }
  }
  return order;
}

/** The rows that `keeps` says yes to; they must have all their parents among them. */
export function selectCommits(commits: CommitColumns, keeps: (row: number) => boolean): CommitColumns {
  const { count, parentStarts, parents, oids, trees, dates, below = 0 } = commits;
  const h = count === 0 ? 0 : oids.length / count;
  const numbers = new Uint32Array(count);
  let kept = 0;
  let keptParents = 0;
  for (let row = 0; row < count; row++) {
    if (!keeps(row)) continue;
    numbers[row] = kept++;
    keptParents += (parentStarts[row + 1] as number) - (parentStarts[row] as number);
  }
  if (kept === count) return commits;
  const made = {
    objectFormat: commits.objectFormat,
    count: kept,
    oids: new Uint8Array(kept * h),
    trees: new Uint8Array(kept * h),
    dates: new Float64Array(kept),
    parentStarts: new Uint32Array(kept + 1),
    parents: new Uint32Array(keptParents),
    below,
  };
  const numberOf = (parent: number): number =>
    parent < below ? parent : below + (numbers[parent - below] as number);
  let to = 0;
  let at = 0;
  for (let row = 0; row < count; row++) {
    if (!keeps(row)) continue;
    made.oids.set(oids.subarray(row * h, (row + 1) * h), to * h);
    made.trees.set(trees.subarray(row * h, (row + 1) * h), to * h);
    made.dates[to] = dates[row] as number;
    for (let i = parentStarts[row] as number; i < (parentStarts[row + 1] as number); i++)
      made.parents[at++] = numberOf(parents[i] as number);
    made.parentStarts[++to] = at;
  }
  return made;
}
