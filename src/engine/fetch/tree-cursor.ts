/**
 * Walking through the raw bytes of a tree object without making objects.
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
