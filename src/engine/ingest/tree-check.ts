/**
 * fsck of trees, fast: most entries of most trees are plainly in order, and most trees differ from the one they are
 * a delta of in a single entry. What is plainly in order is waved through here; whatever is not goes, with its whole
 * tree, to `checkObject`, which alone decides what is reported.
 */
import { checkObject, type FsckState } from "../../object/fsck/object-fsck.js";
import { type FsckFinding, type FsckPolicy, severityOf } from "../../object/fsck/fsck-message.js";
import { hashBytes, type ObjectFormat } from "../../object/object-format.js";
import type { ObjectId } from "../../object/object-id.js";
import { MODE_TREE } from "../../object/tree.js";
import type { TreeOutline } from "./tree-outline.js";

/** Bytes of names that no file system takes for anything else; a dot is one of them except at the beginning. */
const PLAIN = new Uint8Array(256);
for (const c of "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+.,=@#%()[]{}!$&'; ")
  PLAIN[c.charCodeAt(0)] = 1;
const NAME_BYTES_MAX = 4096;
const SLASH = 0x2f;
const DOT = 0x2e;
const MODE_KIND = 0o170000;

export interface TreeFacts {
  readonly data: Buffer;
  readonly starts: TreeOutline;
  /** Asked for only when something is reported. */
  readonly oid: () => ObjectId;
}

export interface TreeVerdict {
  /** Nothing was found: a tree made from this one need be looked at only where it differs. */
  readonly clean: boolean;
  readonly findings: readonly FsckFinding[];
}

const CLEAN: TreeVerdict = { clean: true, findings: [] };

export class TreeChecker {
  readonly #format: ObjectFormat;
  readonly #hashBytes: number;
  readonly #policy: FsckPolicy;
  readonly #state: FsckState;
  /** Whether order can be relied on in what was found to be clean. */
  readonly #ordered: boolean;

  constructor(format: ObjectFormat, policy: FsckPolicy, state: FsckState) {
    this.#format = format;
    this.#hashBytes = hashBytes(format);
    this.#policy = policy;
    this.#state = state;
    this.#ordered =
      severityOf("treeNotSorted", policy) !== "ignore" && severityOf("duplicateEntries", policy) !== "ignore";
  }

  checkWhole(tree: TreeFacts): TreeVerdict {
    const { data, starts } = tree;
    const count = starts.length - 1;
    const odd: number[] = [];
    let inOrder = true;
    for (let i = 0; i < count; i++) {
      if (!this.#isPlain(data, starts, i)) odd.push(i);
      if (i > 0 && compareEntries(data, starts, i - 1, i) >= 0) inOrder = false;
    }
    for (let i = 0; inOrder && i < count; i++)
      if (isDirectory(data, starts, i) && hasTwin(data, starts, i)) inOrder = false;
    return this.#conclude(tree, inOrder, odd);
  }

  /**
   * A tree made from one that was found clean.
   * @param fresh entries that are no copies
   * @param runs entries with which a run of copies begins
   */
  checkDerived(tree: TreeFacts, fresh: readonly number[], runs: readonly number[]): TreeVerdict {
    const { data, starts } = tree;
    const count = starts.length - 1;
    const odd: number[] = [];
    let inOrder = true;
    for (const i of fresh) {
      if (!this.#isPlain(data, starts, i)) odd.push(i);
      if (i > 0 && compareEntries(data, starts, i - 1, i) >= 0) inOrder = false;
      if (i + 1 < count && compareEntries(data, starts, i, i + 1) >= 0) inOrder = false;
    }
    for (const i of runs) {
      if (i > 0 && compareEntries(data, starts, i - 1, i) >= 0) inOrder = false;
    }
    if (inOrder) inOrder = !fresh.some((i) => hasTwin(data, starts, i));
    return this.#conclude(tree, inOrder, odd);
  }

  #conclude(tree: TreeFacts, inOrder: boolean, odd: readonly number[]): TreeVerdict {
    if (inOrder && odd.length === 0) return this.#ordered ? CLEAN : { clean: false, findings: [] };
    if (inOrder && this.#ordered) {
      // The odd ones by themselves: most often `.gitignore` and its like, with which nothing is wrong.
      const { data, starts } = tree;
      const few = Buffer.concat(odd.map((i) => data.subarray(starts[i] as number, starts[i + 1] as number)));
      // Under an id that is on no skip list.
      if (this.#check("", few).length === 0) return CLEAN;
    }
    return { clean: false, findings: this.#check(tree.oid(), tree.data) };
  }

  #check(oid: ObjectId, data: Buffer): readonly FsckFinding[] {
    return checkObject({
      type: "tree",
      oid,
      data,
      objectFormat: this.#format,
      policy: this.#policy,
      state: this.#state,
    });
  }

  /** Mode, name and id as they are in nearly every tree. */
  #isPlain(data: Buffer, starts: TreeOutline, i: number): boolean {
    const end = starts[i + 1] as number;
    const h = this.#hashBytes;
    let at = nameStart(data, starts[i] as number);
    const nul = end - h - 1;
    if (nul - at > NAME_BYTES_MAX || data[at] === DOT || !isPlainMode(data, starts[i] as number))
      return false;
    for (; at < nul; at++) if (PLAIN[data[at] as number] === 0) return false;
    for (at = nul + 1; at < end; at++) if (data[at] !== 0) return true;
    return false;
  }
}

/** 40000, 100644, 100755, 120000, 160000, each in its one right form. */
function isPlainMode(data: Buffer, at: number): boolean {
  if (data[at] === 0x34) return digits(data, at, 5) === 40000;
  const mode = digits(data, at, 6);
  return mode === 100644 || mode === 100755 || mode === 120000 || mode === 160000;
}

/** The decimal value of exactly so many digits before a space; -1 when there are more or fewer. */
function digits(data: Buffer, at: number, length: number): number {
  let value = 0;
  for (let i = 0; i < length; i++) value = value * 10 + (data[at + i] as number) - 0x30;
  return data[at + length] === 0x20 ? value : -1;
}

function nameStart(data: Buffer, start: number): number {
  let at = start;
  while (data[at] !== 0x20) at++;
  return at + 1;
}

function isDirectory(data: Buffer, starts: TreeOutline, i: number): boolean {
  const at = starts[i] as number;
  if (data[at] === 0x34 && data[at + 5] === 0x20) return true;
  // Six digits that begin with 1 are no directory's.
  if (data[at] === 0x31 && data[at + 6] === 0x20) return false;
  let mode = 0;
  for (let p = at; data[p] !== 0x20; p++) mode = mode * 8 + (data[p] as number) - 0x30;
  return (mode & MODE_KIND) === MODE_TREE;
}

/** Git's order: a directory's name counts as if it ended in a slash. Negative when entry a comes before entry b. */
function compareEntries(data: Buffer, starts: TreeOutline, a: number, b: number): number {
  return compareNames(data, starts, a, isDirectory(data, starts, a), b, isDirectory(data, starts, b));
}

function compareNames(
  data: Buffer,
  starts: TreeOutline,
  a: number,
  aIsDirectory: boolean,
  b: number,
  bIsDirectory: boolean,
): number {
  let i = nameStart(data, starts[a] as number);
  let j = nameStart(data, starts[b] as number);
  while (data[i] === data[j] && data[i] !== 0) {
    i++;
    j++;
  }
  // A name ends in NUL; a directory's, for the purpose of order, in a slash.
  const x = data[i] === 0 && aIsDirectory ? SLASH : (data[i] as number);
  const y = data[j] === 0 && bIsDirectory ? SLASH : (data[j] as number);
  return x - y;
}

/** Whether a tree in order has a file and a directory of the name of entry i. */
function hasTwin(data: Buffer, starts: TreeOutline, i: number): boolean {
  const wanted = !isDirectory(data, starts, i);
  let low = 0;
  let high = starts.length - 1;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const order = compareNames(data, starts, i, wanted, middle, isDirectory(data, starts, middle));
    if (order === 0) return isDirectory(data, starts, middle) === wanted;
    if (order < 0) high = middle;
    else low = middle + 1;
  }
  return false;
}
