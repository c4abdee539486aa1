/**
 * A chain of trees, each made from the one before it by a delta, in one piece of memory: going down and up a family
 * of deltas allocates nothing. For every tree it knows where its entries begin, and which of them are *new*: not
 * taken over whole, and in step, from the tree before it.
 *
 * The beginnings are exact whatever the delta looks like: where a copied stretch begins in step with an entry of the
 * base its entries are those of the base, and everything else is parsed. Who asks for it is told what the tree before it
 * has and this one has not: then the entries of a tree are those of the one before it, less the dropped, plus the new,
 * each as often as it stands there.
 */
import { GitwharfError } from "../../base/errors.js";
import { deltaSizes } from "../../pack/delta.js";

/** Trees and chains larger than this are left to ordinary reading. */
const SCRATCH_BYTES_MAX = 64 * 1024 * 1024;
/** An entry has at least a mode of five digits, a space, a name of one byte, a NUL and an id. */
const ENTRY_BYTES_MIN = 8;

/** A stretch of a tree that a delta copied: [start, end) in the scratch, from `from` on. */
const COPY_FIELDS = 3;

export class TreeScratch {
  /** The tree on top is [top, end). */
  bytes: Buffer = Buffer.allocUnsafe(1 << 20);
  top = 0;
  end = 0;
  /** Where the raw ids of the new entries of the tree on top begin; links to submodules are left out. */
  found = new Uint32Array(256);
  foundCount = 0;
  /** Where the names of those entries begin; each ends before the NUL in front of the id. */
  foundNames = new Uint32Array(256);
  /** Where the raw ids of dropped entries of the tree before begin, when they are noted; no links to submodules. */
  dropped = new Uint32Array(256);
  droppedCount = 0;
  readonly #notesDropped: boolean;
  readonly #hashBytes: number;
  /** Where each tree of the chain begins, and the first of its entries in `#entries`. */
  readonly #starts: number[] = [];
  readonly #firstEntries: number[] = [];
  #entries = new Uint32Array(1 << 14);
  #entryCount = 0;
  #copies = new Uint32Array(64 * COPY_FIELDS);
  #copyCount = 0;

  constructor(hashBytes: number, options: { readonly notesDropped?: boolean } = {}) {
    this.#hashBytes = hashBytes;
    this.#notesDropped = options.notesDropped ?? false;
  }

  /** Keeps so many trees of the chain. */
  cutTo(depth: number): void {
    if (this.#starts.length <= depth) return;
    this.end = this.#starts[depth] as number;
    this.#entryCount = this.#firstEntries[depth] as number;
    this.#starts.length = depth;
    this.#firstEntries.length = depth;
    this.top = depth === 0 ? 0 : (this.#starts[depth - 1] as number);
  }

  hasRoom(sizeBytes: number): boolean {
    return this.end + sizeBytes <= SCRATCH_BYTES_MAX;
  }

  /** @throws object/corrupt */
  pushWhole(data: Buffer): void {
    this.#begin(data.length);
    data.copy(this.bytes, this.top);
    this.end = this.top + data.length;
    this.foundCount = 0;
    this.droppedCount = 0;
    for (let at = this.top; at < this.end; ) at = this.#parseEntry(at);
  }

  /** Applies a delta to the tree on top. False when there is no room. @throws object/corrupt */
  pushDelta(delta: Buffer): boolean {
    const { baseSizeBytes, resultSizeBytes, headerLength } = deltaSizes(delta);
    const baseStart = this.top;
    const baseEnd = this.end;
    if (baseSizeBytes !== baseEnd - baseStart) throw corrupt();
    if (!this.hasRoom(resultSizeBytes)) return false;
    const baseFirst = this.#firstEntries.at(-1) ?? 0;
    const baseLast = this.#entryCount;
    this.#begin(resultSizeBytes);
    this.#apply(delta, headerLength, baseStart, baseEnd, resultSizeBytes);
    this.#findEntries(baseFirst, baseLast, baseEnd);
    return true;
  }

  #apply(
    delta: Buffer,
    headerLength: number,
    baseStart: number,
    baseEnd: number,
    resultSizeBytes: number,
  ): void {
    const { bytes } = this;
    const limit = this.top + resultSizeBytes;
    const length = delta.length;
    let to = this.top;
    let at = headerLength;
    this.#copyCount = 0;
    while (at < length) {
      const code = delta[at++] as number;
      if (code & 0x80) {
        let from = baseStart;
        let size = 0;
        if (code & 0x01) from += delta[at++] as number;
        if (code & 0x02) from += (delta[at++] as number) << 8;
        if (code & 0x04) from += (delta[at++] as number) << 16;
        if (code & 0x08) from += (delta[at++] as number) * 0x1000000;
        if (code & 0x10) size = delta[at++] as number;
        if (code & 0x20) size |= (delta[at++] as number) << 8;
        if (code & 0x40) size |= (delta[at++] as number) << 16;
        if (size === 0) size = 0x10000;
        if (at > length || from + size > baseEnd || to + size > limit) throw corrupt();
        if (size < 24) for (let i = 0; i < size; i++) bytes[to + i] = bytes[from + i] as number;
        else bytes.copyWithin(to, from, from + size);
        this.#noteCopy(to, to + size, from);
        to += size;
      } else {
        if (code === 0 || at + code > length || to + code > limit) throw corrupt();
        for (let i = 0; i < code; i++) bytes[to + i] = delta[at + i] as number;
        at += code;
        to += code;
      }
    }
    if (to !== limit) throw corrupt();
    this.end = limit;
  }

  #findEntries(baseFirst: number, baseLast: number, baseEnd: number): void {
    const copies = this.#copies;
    const copiesEnd = this.#copyCount * COPY_FIELDS;
    this.foundCount = 0;
    this.droppedCount = 0;
    // Entries of the base before it are taken over or dropped. One that is copied twice is new the second time.
    let settled = baseFirst;
    this.#reserveEntries((this.end - this.top) / ENTRY_BYTES_MIN);
    const entries = this.#entries;
    let copy = 0;
    for (let at = this.top; at < this.end; ) {
      while (copy < copiesEnd && (copies[copy + 1] as number) <= at) copy += COPY_FIELDS;
      if (copy < copiesEnd && (copies[copy] as number) <= at) {
        const shift = (copies[copy] as number) - (copies[copy + 2] as number);
        const copiedEnd = (copies[copy + 1] as number) - shift;
        let i = this.#findEntry(baseFirst, baseLast, at - shift);
        if (i >= settled || (i >= 0 && !this.#notesDropped)) {
          const taken = i;
          let count = this.#entryCount;
          let next = i + 1 < baseLast ? (entries[i + 1] as number) : baseEnd;
          const before = count;
          while (next <= copiedEnd) {
            entries[count++] = (entries[i++] as number) + shift;
            if (i === baseLast) break;
            next = i + 1 < baseLast ? (entries[i + 1] as number) : baseEnd;
          }
          this.#entryCount = count;
          if (count > before) {
            if (this.#notesDropped) this.#noteDropped(settled, taken, baseLast, baseEnd);
            settled = i;
            at = (i < baseLast ? (entries[i] as number) : baseEnd) + shift;
            continue;
          }
        }
      }
      at = this.#parseEntry(at);
    }
    if (this.#notesDropped) this.#noteDropped(settled, baseLast, baseLast, baseEnd);
  }

  /** Entries [from, to) of the base. */
  #noteDropped(from: number, to: number, baseLast: number, baseEnd: number): void {
    const { bytes } = this;
    for (let i = from; i < to; i++) {
      const start = this.#entries[i] as number;
      const end = i + 1 < baseLast ? (this.#entries[i + 1] as number) : baseEnd;
      if (isGitlinkAt(bytes, start)) continue;
      if (this.droppedCount === this.dropped.length) this.dropped = twice(this.dropped);
      this.dropped[this.droppedCount++] = end - this.#hashBytes;
    }
  }

  /** Which entry of the base begins there; −1: none. */
  #findEntry(first: number, last: number, at: number): number {
    let low = first;
    let high = last - 1;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      const start = this.#entries[middle] as number;
      if (start === at) return middle;
      if (start < at) low = middle + 1;
      else high = middle - 1;
    }
    return -1;
  }

  /** Notes a new entry; answers where the next one begins. */
  #parseEntry(start: number): number {
    const { bytes, end } = this;
    let at = start;
    let mode = 0;
    for (; at < end; at++) {
      const c = bytes[at] as number;
      if (c === 0x20) break;
      if (c < 0x30 || c > 0x37 || at - start >= 7) throw corrupt();
      mode = mode * 8 + c - 0x30;
    }
    const nameStart = at + 1;
    while (at < end && bytes[at] !== 0) at++;
    at++;
    const next = at + this.#hashBytes;
    if (next > end) throw corrupt();
    if (this.#entryCount === this.#entries.length) this.#reserveEntries(1024);
    this.#entries[this.#entryCount++] = start;
    if ((mode & 0o170000) !== 0o160000) {
      if (this.foundCount === this.found.length) {
        this.found = twice(this.found);
        this.foundNames = twice(this.foundNames);
      }
      this.foundNames[this.foundCount] = nameStart;
      this.found[this.foundCount++] = at;
    }
    return next;
  }

  #noteCopy(start: number, end: number, from: number): void {
    const last = this.#copyCount * COPY_FIELDS;
    if (last === this.#copies.length) {
      const larger = new Uint32Array(last * 2);
      larger.set(this.#copies);
      this.#copies = larger;
    }
    this.#copies[last] = start;
    this.#copies[last + 1] = end;
    this.#copies[last + 2] = from;
    this.#copyCount++;
  }

  #begin(sizeBytes: number): void {
    this.top = this.end;
    this.#starts.push(this.top);
    this.#firstEntries.push(this.#entryCount);
    if (this.top + sizeBytes <= this.bytes.length) return;
    const larger = Buffer.allocUnsafe(Math.max(this.top + sizeBytes, this.bytes.length * 2));
    this.bytes.copy(larger, 0, 0, this.top);
    this.bytes = larger;
  }

  #reserveEntries(count: number): void {
    const needed = this.#entryCount + Math.ceil(count);
    if (needed <= this.#entries.length) return;
    const larger = new Uint32Array(Math.max(needed, this.#entries.length * 2));
    larger.set(this.#entries);
    this.#entries = larger;
  }
}

function twice(numbers: Uint32Array<ArrayBuffer>): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(numbers.length * 2);
  larger.set(numbers);
  return larger;
}

/** The entry's mode is 160000, as git writes it; leading zeros are met in old trees. */
function isGitlinkAt(bytes: Buffer, start: number): boolean {
  let mode = 0;
  for (let at = start; bytes[at] !== 0x20; at++) mode = mode * 8 + (bytes[at] as number) - 0x30;
  return (mode & 0o170000) === 0o160000;
}

function corrupt(): GitwharfError {
  return new GitwharfError(
    "object/corrupt",
    "a tree, or the delta that makes it, is malformed; run 'gitwharf fsck'",
  );
}
