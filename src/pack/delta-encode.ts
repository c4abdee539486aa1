/**
 * Making deltas: greedy matching against an index of the base's blocks of 16 bytes.
 * Specification: gitformat-pack, "Deltified representation" (the format is described in `delta.ts`).
 *
 * Not here: choosing which object is a good base for which (`engine/delta-search.ts`).
 */

const BLOCK_BYTES = 16;
/** Blocks with the same hash that are tried; sixteen cost twice the time for deltas 0.3 % shorter. */
const CANDIDATES_MAX = 4;
const COPY_BYTES_MAX = 0xffffff;
const INSERT_BYTES_MAX = 127;

/** Positions of the base's blocks by hash. 8 bytes per 16 bytes of base, plus the base itself. */
export interface DeltaIndex {
  readonly base: Buffer;
  /** Heads of chains by hash; 0 = none, else block number + 1. */
  readonly heads: Int32Array;
  readonly next: Int32Array;
  readonly mask: number;
}

/**
 * The hash of a block is a polynomial in its bytes, modulo 2^32: a step to the next position takes one byte out and one
 * in, where most positions of a target match nothing and are only passed.
 */
const FACTOR = 0x9e3779b1;
/** FACTOR to the 15th power: the weight of a block's first byte. */
let weight = 1;
for (let i = 1; i < BLOCK_BYTES; i++) weight = Math.imul(weight, FACTOR);
const FIRST_WEIGHT = weight;

function hashAt(bytes: Buffer, at: number): number {
  let h = 0;
  for (let i = 0; i < BLOCK_BYTES; i++) h = (Math.imul(h, FACTOR) + (bytes[at + i] as number)) | 0;
  return h;
}

/** The low bits of the polynomial depend on few bits of the bytes; the product's high bits on all. */
function bucketOf(hash: number, mask: number): number {
  const mixed = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return (mixed ^ (mixed >>> 16)) & mask;
}

/** @returns undefined for a base shorter than one block */
export function createDeltaIndex(base: Buffer): DeltaIndex | undefined {
  const count = Math.floor(base.length / BLOCK_BYTES);
  if (count === 0) return undefined;
  let size = 16;
  while (size < count * 2 && size < 2 ** 22) size *= 2;
  const heads = new Int32Array(size);
  const next = new Int32Array(count + 1);
  const mask = size - 1;
  // From the end, so that the chain of a hash begins with its first block.
  for (let block = count - 1; block >= 0; block--) {
    const bucket = bucketOf(hashAt(base, block * BLOCK_BYTES), mask);
    next[block + 1] = heads[bucket] as number;
    heads[bucket] = block + 1;
  }
  return { base, heads, next, mask };
}

/**
 * @param maxBytes give up as soon as the delta would be longer
 * @returns undefined when it would be longer than `maxBytes`
 */
export function encodeDelta(index: DeltaIndex, target: Buffer, maxBytes: number): Buffer | undefined {
  const { base, heads, next, mask } = index;
  const out = new DeltaBuilder(Math.min(maxBytes, target.length + 64));
  out.size(base.length);
  out.size(target.length);
  const end = target.length;
  const lastBlock = end - BLOCK_BYTES;
  let at = 0;
  let literalFrom = 0;
  let hash = lastBlock >= 0 ? hashAt(target, 0) : 0;
  while (at <= lastBlock) {
    let bestFrom = 0;
    let bestLength = 0;
    let candidate = heads[bucketOf(hash, mask)] as number;
    for (
      let tries = 0;
      candidate !== 0 && tries < CANDIDATES_MAX;
      tries++, candidate = next[candidate] as number
    ) {
      const from = (candidate - 1) * BLOCK_BYTES;
      if (bestLength > 0 && base[from + bestLength] !== target[at + bestLength]) continue;
      const room = Math.min(base.length - from, end - at);
      let length = 0;
      while (length < room && base[from + length] === target[at + length]) length++;
      if (length > bestLength) {
        bestLength = length;
        bestFrom = from;
        if (length === room || length > 4096) break;
      }
    }
    if (bestLength < BLOCK_BYTES) {
      const first = target[at] as number;
      at++;
      if (out.length + at - literalFrom > maxBytes) return undefined;
      hash =
        (Math.imul(hash - Math.imul(first, FIRST_WEIGHT), FACTOR) +
          (target[at + BLOCK_BYTES - 1] as number)) |
        0;
      continue;
    }
    // What precedes may match as well: blocks of the base begin at multiples of 16 only.
    while (at > literalFrom && bestFrom > 0 && base[bestFrom - 1] === target[at - 1]) {
      at--;
      bestFrom--;
      bestLength++;
    }
    out.insert(target, literalFrom, at);
    out.copy(bestFrom, bestLength);
    at += bestLength;
    literalFrom = at;
    if (out.length > maxBytes) return undefined;
    if (at <= lastBlock) hash = hashAt(target, at);
  }
  out.insert(target, literalFrom, end);
  return out.length > maxBytes ? undefined : out.finish();
}

/** Writes the parts of a delta one after another. */
export class DeltaBuilder {
  length = 0;
  #bytes: Buffer;

  constructor(sizeBytes: number) {
    this.#bytes = Buffer.allocUnsafe(Math.max(64, sizeBytes));
  }

  size(value: number): void {
    this.#reserve(10);
    let rest = value;
    while (rest >= 128) {
      this.#bytes[this.length++] = (rest % 128) | 0x80;
      rest = Math.floor(rest / 128);
    }
    this.#bytes[this.length++] = rest;
  }

  insert(source: Buffer, start: number, end: number): void {
    for (let at = start; at < end; ) {
      const count = Math.min(INSERT_BYTES_MAX, end - at);
      this.#reserve(count + 1);
      this.#bytes[this.length++] = count;
      source.copy(this.#bytes, this.length, at, at + count);
      this.length += count;
      at += count;
    }
  }

  copy(from: number, length: number): void {
    for (let done = 0; done < length; ) {
      const size = Math.min(COPY_BYTES_MAX, length - done);
      this.#copyOne(from + done, size);
      done += size;
    }
  }

  finish(): Buffer {
    return Buffer.from(this.#bytes.subarray(0, this.length));
  }

  #copyOne(offset: number, size: number): void {
    this.#reserve(8);
    const codeAt = this.length++;
    let code = 0x80;
    for (let i = 0, rest = offset; i < 4; i++, rest = Math.floor(rest / 256)) {
      if (rest % 256 === 0) continue;
      code |= 1 << i;
      this.#bytes[this.length++] = rest % 256;
    }
    // 65,536 is written as no size at all.
    for (let i = 0, rest = size === 0x10000 ? 0 : size; i < 3; i++, rest >>>= 8) {
      if ((rest & 255) === 0) continue;
      code |= 0x10 << i;
      this.#bytes[this.length++] = rest & 255;
    }
    this.#bytes[codeAt] = code;
  }

  #reserve(count: number): void {
    if (this.length + count <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafe(this.#bytes.length * 2 + count);
    this.#bytes.copy(larger, 0, 0, this.length);
    this.#bytes = larger;
  }
}
