/**
 * Where the entries of a tree begin, and which of them are new against the tree that it is a delta of.
 *
 * Most trees of a pack are deltas that change one entry of many hundreds. Whatever a delta copies whole from its
 * base was looked at there: only entries that are not such copies need their links noted and their form checked.
 * Nothing is assumed about the delta: an entry counts as a copy only when its bytes come from one instruction and
 * are exactly one entry of the base; everything else is parsed.
 */
import { GitwharfError } from "../../base/errors.js";
import { hashBytes, type ObjectFormat } from "../../object/object-format.js";
import { deltaSizes } from "../../pack/delta.js";
import { MODE_DIGITS_MAX } from "./object-links.js";

/** Offsets at which entries begin, in order, and the tree's size behind them. */
export type TreeOutline = Uint32Array;

/** @throws object/malformed */
export function outlineTree(data: Buffer, format: ObjectFormat): TreeOutline {
  const h = hashBytes(format);
  const starts: number[] = [];
  for (let at = 0; at < data.length; at = entryEnd(data, at, h)) starts.push(at);
  starts.push(data.length);
  return Uint32Array.from(starts);
}

/** Outlines of trees that are made from others; one is in work at a time, in memory that is used again. */
export class OutlineDeriver {
  readonly #hashBytes: number;
  #starts = new Uint32Array(1024);
  readonly #fresh: number[] = [];
  readonly #runs: number[] = [];
  #count = 0;

  constructor(format: ObjectFormat) {
    this.#hashBytes = hashBytes(format);
  }

  /** How many entries the tree has. */
  get count(): number {
    return this.#count;
  }

  /** Borrowed until the next `derive`: `count + 1` offsets. */
  get starts(): TreeOutline {
    return this.#starts.subarray(0, this.#count + 1);
  }

  /** Numbers of the entries that are no copies, ascending. Borrowed likewise. */
  get fresh(): readonly number[] {
    return this.#fresh;
  }

  /** Numbers of the entries with which a run of copies begins, ascending. Borrowed likewise. */
  get runs(): readonly number[] {
    return this.#runs;
  }

  /**
   * @param base of the tree that `delta` was applied to
   * @param target what came out of it
   * @throws object/malformed
   */
  derive(base: TreeOutline, delta: Buffer, target: Buffer): void {
    this.#count = 0;
    this.#fresh.length = 0;
    this.#runs.length = 0;
    const end = delta.length;
    let at = deltaSizes(delta).headerLength;
    let written = 0;
    /** Where the next entry of the target begins. */
    let next = 0;
    while (at < end) {
      const code = delta[at++] as number;
      if (!(code & 0x80)) {
        at += code;
        written += code;
        continue;
      }
      let from = 0;
      let size = 0;
      if (code & 0x01) from = delta[at++] as number;
      if (code & 0x02) from |= (delta[at++] as number) << 8;
      if (code & 0x04) from |= (delta[at++] as number) << 16;
      if (code & 0x08) from += (delta[at++] as number) * 0x1000000;
      if (code & 0x10) size = delta[at++] as number;
      if (code & 0x20) size |= (delta[at++] as number) << 8;
      if (code & 0x40) size |= (delta[at++] as number) << 16;
      if (size === 0) size = 0x10000;
      next = this.#copied(base, from, size, written, target, next);
      written += size;
    }
    while (next < target.length) next = this.#parse(target, next);
    this.#reserve(1);
    this.#starts[this.#count] = target.length;
  }

  /** One instruction: `size` bytes from `from` of the base to `to` of the target. @returns the next entry's start */
  #copied(base: TreeOutline, from: number, size: number, to: number, target: Buffer, start: number): number {
    let next = start;
    while (next < to && next < target.length) next = this.#parse(target, next);
    const stop = to + size;
    while (next < stop) {
      const source = next - to + from;
      const first = lastAtOrBefore(base, source);
      if (base[first] === source) {
        const last = lastAtOrBefore(base, from + size);
        if (last > first) {
          this.#reserve(last - first);
          this.#runs.push(this.#count);
          const shift = next - source;
          const starts = this.#starts;
          let count = this.#count;
          for (let i = first; i < last; i++) starts[count++] = (base[i] as number) + shift;
          this.#count = count;
          next = (base[last] as number) + shift;
          continue;
        }
      }
      // Not aligned with the base's entries, or not whole in this instruction.
      next = this.#parse(target, next);
    }
    return next;
  }

  #parse(target: Buffer, at: number): number {
    this.#reserve(1);
    this.#fresh.push(this.#count);
    this.#starts[this.#count++] = at;
    return entryEnd(target, at, this.#hashBytes);
  }

  #reserve(more: number): void {
    // One place more than asked for: the size behind the last entry.
    const need = this.#count + more + 1;
    if (need <= this.#starts.length) return;
    const grown = new Uint32Array(Math.max(need, this.#starts.length * 2));
    grown.set(this.#starts);
    this.#starts = grown;
  }
}

/** Index of the last start that is not behind `offset`. The first start is 0. */
function lastAtOrBefore(starts: TreeOutline, offset: number): number {
  let low = 0;
  let high = starts.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if ((starts[middle] as number) <= offset) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** Where the entry that begins at `start` ends. @throws object/malformed */
function entryEnd(data: Buffer, start: number, h: number): number {
  const { length } = data;
  let at = start;
  while (at < length && (data[at] as number) >= 0x30 && (data[at] as number) <= 0x37) at++;
  if (at === start || at - start > MODE_DIGITS_MAX || data[at] !== 0x20)
    throw malformed("a tree's entry has a mode that is not octal");
  const name = ++at;
  while (at < length && data[at] !== 0) at++;
  if (at === name || at + 1 + h > length) throw malformed("a tree's entry is not whole");
  return at + 1 + h;
}

function malformed(why: string): GitwharfError {
  return new GitwharfError("object/malformed", why);
}
