/**
 * Trees side by side: what differs is visited, what is equal is passed over in blocks.
 */
import { type ParsedTree, StartList } from "./parsed-tree.js";
import { compareEntryNames, TreeCursor } from "./tree-cursor.js";

export interface TreeDifference {
  /** An entry of the new tree that the old one does not have as it is; `old` has the same name and kind, if any. */
  changed(entry: TreeCursor, old: TreeCursor | undefined): void;
  /** An entry of the old tree that the new one does not have as it is. Comes before `changed` for the same name. */
  gone(old: TreeCursor): void;
}

/** @throws object/corrupt */
export function compareTwoTrees(
  tree: ParsedTree,
  oldTree: ParsedTree,
  hashBytes: number,
  visit: TreeDifference,
): void {
  const { data } = tree;
  const oldData = oldTree.data;
  const oldStarts = oldTree.starts(hashBytes);
  const found = tree.knownStarts === undefined ? new StartList(oldStarts.length) : undefined;
  const entry = new TreeCursor(data, hashBytes);
  const old = new TreeCursor(oldData, hashBytes);
  const { length } = data;
  const oldLength = oldData.length;
  /** Where the entries at hand begin, and the number of the old one. */
  let a = 0;
  let b = 0;
  let number = 0;
  for (;;) {
    const equal = equalLength(data, a, oldData, b);
    if (equal > 0) {
      // Old entries that end inside of what is equal are entries of the new tree as well.
      const next = b + equal === oldLength ? oldStarts.length : lastAtOrBefore(oldStarts, number, b + equal);
      const to = next === oldStarts.length ? oldLength : (oldStarts[next] as number);
      found?.addShifted(oldStarts, number, next, a - b);
      a += to - b;
      b = to;
      number = next;
    }
    const hasNew = a < length && entry.parseAt(a);
    const hasOld = b < oldLength && old.parseAt(b);
    if (!hasNew && !hasOld) break;
    const order = !hasNew ? 1 : !hasOld ? -1 : compareEntryNames(entry, old);
    if (order >= 0) visit.gone(old);
    if (order === 0) visit.changed(entry, old);
    else if (order < 0) visit.changed(entry, undefined);
    if (order <= 0) {
      found?.add(a);
      a = entry.nextAt;
    }
    if (order >= 0) {
      b = old.nextAt;
      number++;
    }
  }
  if (found !== undefined) tree.learnStarts(found.finish());
}

/** The last number from `first` on whose beginning is not behind `at`. `starts[first]` is not behind it. */
function lastAtOrBefore(starts: Uint32Array, first: number, at: number): number {
  let low = first;
  let high = starts.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if ((starts[middle] as number) <= at) low = middle;
    else high = middle - 1;
  }
  return low;
}

const SMALL_BYTES = 96;

/** How many bytes are equal from there on: blocks of growing size, then of shrinking size, then bytes. */
function equalLength(a: Buffer, aStart: number, b: Buffer, bStart: number): number {
  const max = Math.min(a.length - aStart, b.length - bStart);
  let done = 0;
  const first = Math.min(SMALL_BYTES, max);
  while (done < first && a[aStart + done] === b[bStart + done]) done++;
  if (done < SMALL_BYTES) return done;
  let block = 256;
  while (done < max) {
    const size = Math.min(block, max - done);
    if (!equalBlock(a, aStart + done, b, bStart + done, size)) {
      block = size;
      break;
    }
    done += size;
    block *= 2;
  }
  if (done === max) return max;
  while (block > SMALL_BYTES) {
    const half = block >>> 1;
    if (equalBlock(a, aStart + done, b, bStart + done, half)) {
      done += half;
      block -= half;
    } else block = half;
  }
  while (done < max && a[aStart + done] === b[bStart + done]) done++;
  return done;
}

function equalBlock(a: Buffer, aStart: number, b: Buffer, bStart: number, size: number): boolean {
  return a.compare(b, bStart, bStart + size, aStart, aStart + size) === 0;
}

export interface TreesDifference {
  /** `olds[i]` has the same name and kind in the i-th old tree, if it is there. None of them is the same entry. */
  changed(entry: TreeCursor, olds: readonly (TreeCursor | undefined)[]): void;
  gone(old: TreeCursor, which: number): void;
}

/** One new tree beside several old ones (a merge). @throws object/corrupt */
export function compareManyTrees(
  tree: ParsedTree,
  oldTrees: readonly ParsedTree[],
  hashBytes: number,
  visit: TreesDifference,
): void {
  /** Entries that no old tree so far has as they are; with each, where its counterparts begin, −1 for none. */
  let starts: number[] = [];
  let counterparts: number[][] = [];
  for (const [k, oldTree] of oldTrees.entries()) {
    const keptStarts: number[] = [];
    const keptCounterparts: number[][] = [];
    let at = 0;
    compareTwoTrees(tree, oldTree, hashBytes, {
      gone: (old) => visit.gone(old, k),
      changed(entry, old) {
        while (k > 0 && at < starts.length && (starts[at] as number) < entry.start) at++;
        if (k > 0 && starts[at] !== entry.start) return;
        keptStarts.push(entry.start);
        keptCounterparts.push([...(k > 0 ? (counterparts[at] as number[]) : []), old?.start ?? -1]);
      },
    });
    starts = keptStarts;
    counterparts = keptCounterparts;
  }
  const entry = new TreeCursor(tree.data, hashBytes);
  const cursors = oldTrees.map((old) => new TreeCursor(old.data, hashBytes));
  for (const [i, start] of starts.entries()) {
    entry.parseAt(start);
    const olds = (counterparts[i] as number[]).map((oldStart, k) => {
      const cursor = cursors[k] as TreeCursor;
      return oldStart >= 0 && cursor.parseAt(oldStart) ? cursor : undefined;
    });
    visit.changed(entry, olds);
  }
}
