/**
 * Writes the reachability bitmaps of one pack, or of the packs behind a multi-pack-index, with git's name hashes and a
 * lookup table.
 * Specification: bitmap-format; the layout is in `bitmap.ts`. Which commits get a bitmap, and what they reach, is not
 * known here.
 *
 * A bitmap that differs little from one before it is written as the difference. What was added is kept compressed, and
 * some of it uncompressed: memory does not grow with objects times commits.
 */
import { invariant } from "../base/errors.js";
import { hashBytes, type ObjectFormat } from "../object/object-format.js";
import { hashBytesOf } from "../object/object-id.js";
import type { BitmappedIndex } from "./bitmap.js";
import type { Bitset } from "./bitset.js";
import { formatEwah, measureEwah, parseEwah } from "./ewah.js";

const FULL_CLOSURE = 1;
const NAME_HASH_CACHE = 4;
const LOOKUP_TABLE = 16;
const ENTRY_HEAD_BYTES = 6;
const TABLE_ROW_BYTES = 16;
const NO_ROW = 0xffffffff;
const TRAILER_AT = 12;
/** An entry can be the difference from one of so many before it. */
const REACH_MAX = 160;
/** Of those the last few are tried, and what the caller names. */
const TRIED_LAST = 3;
/** Differences that stand upon each other: who reads the last has to read all. */
const CHAIN_MAX = 32;
const UNCOMPRESSED_BYTES_MAX = 32 * 1024 * 1024;
const UNCOMPRESSED_MIN = 8;

export interface BitmapTypes {
  /** Bits of the objects of each type. */
  readonly commit: Bitset;
  readonly tree: Bitset;
  readonly blob: Bitset;
  readonly tag: Bitset;
}

/** The same for another pack with the same objects in the same order. */
export function renameBitmap(
  bitmap: Uint8Array,
  objectFormat: ObjectFormat,
  packTrailer: string,
): Uint8Array<SharedArrayBuffer> {
  const bytes = new Uint8Array(new SharedArrayBuffer(bitmap.length));
  bytes.set(bitmap);
  const out = Buffer.from(bytes.buffer);
  out.write(packTrailer, TRAILER_AT, "hex");
  const end = out.length - hashBytes(objectFormat);
  out.write(hashBytesOf(objectFormat, out.subarray(0, end)), end, "hex");
  return bytes;
}

interface Written {
  /** Position in the index. */
  readonly position: number;
  /** Number of the entry that it is the difference from; −1: none. */
  readonly base: number;
  readonly chain: number;
  readonly ewah: Buffer;
}

export class BitmapWriter {
  readonly #index: BitmappedIndex;
  readonly #entries: Written[] = [];
  /** Oldest use first. */
  readonly #uncompressed = new Map<number, Bitset>();
  readonly #uncompressedMax: number;

  constructor(index: BitmappedIndex) {
    this.#index = index;
    const each = Math.ceil(index.objectCount / 8) + 1;
    this.#uncompressedMax = Math.max(UNCOMPRESSED_MIN, Math.floor(UNCOMPRESSED_BYTES_MAX / each));
  }

  get count(): number {
    return this.#entries.length;
  }

  /**
   * @param position of the commit in the index
   * @param bits of what it reaches, itself among it, for all objects of the index; taken over
   * @param near numbers of entries that are much like it
   * @returns the entry's number
   */
  add(position: number, bits: Bitset, near: readonly number[] = []): number {
    const number = this.#entries.length;
    let base = -1;
    let words = measureEwah(bits);
    const tried = new Set(near.filter((each) => number - each <= REACH_MAX));
    for (let each = Math.max(0, number - TRIED_LAST); each < number; each++) tried.add(each);
    for (const each of tried) {
      if ((this.#entries[each] as Written).chain >= CHAIN_MAX) continue;
      const difference = measureEwah(bits, this.#bits(each));
      if (difference >= words) continue;
      words = difference;
      base = each;
    }
    const chain = base < 0 ? 0 : (this.#entries[base] as Written).chain + 1;
    const ewah = formatEwah(bits, base < 0 ? undefined : this.#bits(base));
    this.#entries.push({ position, base, chain, ewah });
    this.#keep(number, bits);
    return number;
  }

  /** Adds what an entry reaches to a set. */
  orInto(bits: Bitset, number: number): void {
    bits.or(this.#bits(number));
  }

  /** @param nameHashes by position in the index. The writer is not used any more then. */
  finish(types: BitmapTypes, nameHashes: Uint32Array): Uint8Array<SharedArrayBuffer> {
    const n = this.#index.objectCount;
    invariant(nameHashes.length === n, "a bitmap needs a name hash for each object");
    const h = hashBytes(this.#index.objectFormat);
    const typeBitmaps = [types.commit, types.tree, types.blob, types.tag].map((bits) => formatEwah(bits));
    const count = this.#entries.length;
    let sizeBytes = TRAILER_AT + h + count * TABLE_ROW_BYTES + n * 4 + h;
    for (const bitmap of typeBitmaps) sizeBytes += bitmap.length;
    for (const { ewah } of this.#entries) sizeBytes += ENTRY_HEAD_BYTES + ewah.length;
    const bytes = new Uint8Array(new SharedArrayBuffer(sizeBytes));
    const out = Buffer.from(bytes.buffer);
    out.write("BITM", 0, "latin1");
    out.writeUInt16BE(1, 4);
    out.writeUInt16BE(FULL_CLOSURE | NAME_HASH_CACHE | LOOKUP_TABLE, 6);
    out.writeUInt32BE(count, 8);
    out.write(this.#index.bitmapKey, TRAILER_AT, "hex");
    let at = TRAILER_AT + h;
    for (const bitmap of typeBitmaps) {
      out.set(bitmap, at);
      at += bitmap.length;
    }
    const starts: number[] = [];
    for (const [number, { position, base, ewah }] of this.#entries.entries()) {
      starts.push(at);
      out.writeUInt32BE(position, at);
      out[at + 4] = base < 0 ? 0 : number - base;
      out[at + 5] = 0;
      out.set(ewah, at + ENTRY_HEAD_BYTES);
      at += ENTRY_HEAD_BYTES + ewah.length;
    }
    at = this.#writeTable(out, at, starts);
    for (let position = 0; position < n; position++, at += 4)
      out.writeUInt32BE(nameHashes[position] as number, at);
    out.write(hashBytesOf(this.#index.objectFormat, out.subarray(0, at)), at, "hex");
    return bytes;
  }

  #writeTable(out: Buffer, start: number, starts: readonly number[]): number {
    const entries = this.#entries;
    const numbers = entries.map((_, number) => number);
    numbers.sort((a, b) => (entries[a] as Written).position - (entries[b] as Written).position);
    const rows = new Uint32Array(entries.length);
    for (const [row, number] of numbers.entries()) rows[number] = row;
    let at = start;
    for (const number of numbers) {
      const { position, base } = entries[number] as Written;
      out.writeUInt32BE(position, at);
      out.writeBigUInt64BE(BigInt(starts[number] as number), at + 4);
      out.writeUInt32BE(base < 0 ? NO_ROW : (rows[base] as number), at + 12);
      at += TABLE_ROW_BYTES;
    }
    return at;
  }

  /** Borrowed: nobody changes it. */
  #bits(number: number): Bitset {
    const chain: Written[] = [];
    let base = number;
    while (base >= 0 && !this.#uncompressed.has(base)) {
      const entry = this.#entries[base] as Written;
      chain.push(entry);
      base = entry.base;
    }
    let bits = this.#uncompressed.get(base);
    if (bits !== undefined && chain.length === 0) {
      this.#uncompressed.delete(number);
      this.#uncompressed.set(number, bits);
      return bits;
    }
    for (let entry = chain.pop(); entry !== undefined; entry = chain.pop()) {
      const own = parseEwah(entry.ewah, 0, this.#index.objectCount).bits;
      if (bits !== undefined) own.xor(bits);
      bits = own;
    }
    invariant(bits !== undefined, "a bitmap stands upon nothing");
    this.#keep(number, bits);
    return bits;
  }

  #keep(number: number, bits: Bitset): void {
    this.#uncompressed.set(number, bits);
    for (const oldest of this.#uncompressed.keys()) {
      if (this.#uncompressed.size <= this.#uncompressedMax) break;
      this.#uncompressed.delete(oldest);
    }
  }
}
