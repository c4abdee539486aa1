/**
 * Walking through the raw bytes of a tree object, and through two trees side by side, without making objects.
 *
 *     OFFSET  SIZE    MEANING (one entry)
 *     0       5..7    mode, octal digits; then SP
 *     …       1..     name, no NUL and no slash; then NUL
 *     …       20|32   object id, raw
 *
 * Entries are in byte order of their names, a directory's name counting as if it ended in a slash.
 */
import { GitwharfError } from "../../base/errors.js";

/** A plain cursor; `next` moves it to the following entry. */
export class TreeCursor {
  data: Buffer;
  /** Numeric mode: 0o40000 tree, 0o160000 gitlink, else a blob. */
  mode = 0;
  /** Where the entry begins. */
  start = 0;
  nameStart = 0;
  /** Exclusive. */
  nameEnd = 0;
  /** Where the raw id begins. */
  oidAt = 0;
  /** Where the next entry begins. */
  nextAt = 0;
  readonly #hashBytes: number;

  constructor(data: Buffer, hashBytes: number) {
    this.data = data;
    this.#hashBytes = hashBytes;
  }

  get isTree(): boolean {
    return (this.mode & 0o170000) === 0o40000;
  }

  get isGitlink(): boolean {
    return (this.mode & 0o170000) === 0o160000;
  }

  /** One byte a character. */
  get name(): string {
    return this.data.toString("latin1", this.nameStart, this.nameEnd);
  }

  /** False at the end. @throws object/corrupt */
  next(): boolean {
    return this.parseAt(this.nextAt);
  }

  /** @throws object/corrupt */
  parseAt(start: number): boolean {
    const { data } = this;
    const { length } = data;
    if (start >= length) return false;
    this.start = start;
    let mode = 0;
    let at = start;
    for (; at < length; at++) {
      const c = data[at] as number;
      if (c === 0x20) break;
      if (c < 0x30 || c > 0x37 || at - start >= 7) throw corruptTree(start);
      mode = mode * 8 + c - 0x30;
    }
    this.mode = mode;
    this.nameStart = ++at;
    while (at < length && data[at] !== 0) at++;
    this.nameEnd = at;
    this.oidAt = at + 1;
    this.nextAt = at + 1 + this.#hashBytes;
    if (this.nextAt > length) throw corruptTree(start);
    return true;
  }
}

function corruptTree(at: number): GitwharfError {
  return new GitwharfError(
    "object/corrupt",
    `a tree object has a malformed entry at byte ${at}; run 'gitwharf fsck'`,
  );
}

/** The order of tree entries: negative, zero (same name, both or neither a tree) or positive. */
export function compareEntryNames(a: TreeCursor, b: TreeCursor): number {
  const da = a.data;
  const db = b.data;
  let i = a.nameStart;
  let j = b.nameStart;
  while (i < a.nameEnd && j < b.nameEnd) {
    const difference = (da[i++] as number) - (db[j++] as number);
    if (difference !== 0) return difference;
  }
  const ca = i < a.nameEnd ? (da[i] as number) : a.isTree ? 0x2f : 0;
  const cb = j < b.nameEnd ? (db[j] as number) : b.isTree ? 0x2f : 0;
  return ca - cb;
}

export interface TreeDifference {
  /** An entry of the new tree that the old one does not have as it is; `old` has the same name and kind, if any. */
  changed(entry: TreeCursor, old: TreeCursor | undefined): void;
  /** An entry of the old tree that the new one does not have as it is. */
  gone(old: TreeCursor): void;
}

/** Passes over equal entries at about a nanosecond a byte. @throws object/corrupt */
export function compareTwoTrees(
  data: Buffer,
  oldData: Buffer,
  hashBytes: number,
  visit: TreeDifference,
): void {
  const entry = new TreeCursor(data, hashBytes);
  const old = new TreeCursor(oldData, hashBytes);
  const { length } = data;
  const oldLength = oldData.length;
  let a = 0;
  let b = 0;
  for (;;) {
    // Mode, name and id in one go while they are the same.
    while (a < length && b < oldLength) {
      let i = a;
      let j = b;
      let c = data[i];
      while (c === oldData[j] && c !== 0 && c !== undefined) {
        c = data[++i];
        j++;
      }
      if (c !== 0 || oldData[j] !== 0) break;
      const end = i + 1 + hashBytes;
      if (end > length || j + 1 + hashBytes > oldLength) break;
      i++;
      j++;
      while (i < end && data[i] === oldData[j]) {
        i++;
        j++;
      }
      if (i < end) break;
      a = i;
      b = j;
    }
    const hasNew = a < length && entry.parseAt(a);
    const hasOld = b < oldLength && old.parseAt(b);
    if (!hasNew && !hasOld) return;
    const order = !hasNew ? 1 : !hasOld ? -1 : compareEntryNames(entry, old);
    if (order === 0) {
      visit.gone(old);
      visit.changed(entry, old);
    } else if (order < 0) {
      visit.changed(entry, undefined);
    } else {
      visit.gone(old);
    }
    if (order <= 0) a = entry.nextAt;
    if (order >= 0) b = old.nextAt;
  }
}

export interface TreesDifference {
  /** `olds[i]` has the same name and kind in the i-th old tree, if it is there. None of them is the same entry. */
  changed(entry: TreeCursor, olds: readonly (TreeCursor | undefined)[]): void;
  gone(old: TreeCursor, which: number): void;
}

/** One new tree beside several old ones (a merge). @throws object/corrupt */
export function compareManyTrees(
  data: Buffer,
  oldDatas: readonly Buffer[],
  hashBytes: number,
  visit: TreesDifference,
): void {
  /** Entries that no old tree so far has as they are; with each, where its counterparts begin, −1 for none. */
  let starts: number[] = [];
  let counterparts: number[][] = [];
  for (const [k, oldData] of oldDatas.entries()) {
    const keptStarts: number[] = [];
    const keptCounterparts: number[][] = [];
    let at = 0;
    compareTwoTrees(data, oldData, hashBytes, {
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
  const entry = new TreeCursor(data, hashBytes);
  const cursors = oldDatas.map((old) => new TreeCursor(old, hashBytes));
  for (const [i, start] of starts.entries()) {
    entry.parseAt(start);
    const olds = (counterparts[i] as number[]).map((oldStart, k) => {
      const cursor = cursors[k] as TreeCursor;
      return oldStart >= 0 && cursor.parseAt(oldStart) ? cursor : undefined;
    });
    visit.changed(entry, olds);
  }
}
