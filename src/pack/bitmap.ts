/**
 * Reachability bitmaps of one pack (`.bitmap`, version 1): for chosen commits, which objects of the pack they reach.
 * Bits are ranks, the order of offsets in the pack. Specification: bitmap-format.
 *
 *     OFFSET  SIZE   MEANING
 *     0       4      "BITM"
 *     4       2      version, 1
 *     6       2      options: 1 full closure, 4 name-hash cache, 16 lookup table
 *     8       4      how many commits have a bitmap
 *     12      h      the pack's trailer
 *     …       4 EWAH bitmaps of the types: commits, trees, blobs, tags
 *     …       an entry a commit: index position (4), XOR offset (1), flags (1), EWAH bitmap
 */
import { GitwharfError } from "../base/errors.js";
import { hashBytes } from "../object/object-format.js";
import type { ObjectId } from "../object/object-id.js";
import type { Bitset } from "./bitset.js";
import { ewahByteLength, parseEwah } from "./ewah.js";
import type { PackIndex } from "./pack-index.js";

interface Entry {
  readonly at: number;
  /** How many entries before this one the bitmap is to be XORed with; 0 = it stands for itself. */
  readonly xorOffset: number;
}

const FULL_CLOSURE = 1;

export class PackBitmap {
  readonly objectCount: number;
  /** Ranks of the objects of each type. */
  readonly types: {
    readonly commit: Bitset;
    readonly tree: Bitset;
    readonly blob: Bitset;
    readonly tag: Bitset;
  };
  readonly #index: PackIndex;
  readonly #bytes: Buffer;
  readonly #entries: Entry[] = [];
  readonly #entryOfPosition = new Map<number, number>();
  readonly #decoded = new Map<number, Bitset>();

  private constructor(bytes: Buffer, index: PackIndex) {
    const h = hashBytes(index.objectFormat);
    this.#bytes = bytes;
    this.#index = index;
    this.objectCount = index.objectCount;
    if (bytes.length < 12 + h || bytes.toString("latin1", 0, 4) !== "BITM" || bytes.readUInt16BE(4) !== 1) {
      throw bad("its head is not that of version 1");
    }
    if ((bytes.readUInt16BE(6) & FULL_CLOSURE) === 0) throw bad("it is not for a closed set of objects");
    if (bytes.toString("hex", 12, 12 + h) !== index.packTrailer) throw bad("it belongs to another pack");
    const count = bytes.readUInt32BE(8);
    let at = 12 + h;
    const next = (): Bitset => {
      const { bits, byteLength } = parseEwah(bytes, at, this.objectCount);
      at += byteLength;
      return bits;
    };
    this.types = { commit: next(), tree: next(), blob: next(), tag: next() };
    for (let i = 0; i < count; i++) {
      if (at + 6 > bytes.length) throw bad("it is not whole");
      const position = bytes.readUInt32BE(at);
      const xorOffset = bytes[at + 4] as number;
      if (xorOffset > i || position >= this.objectCount) throw bad("an entry points outside of it");
      this.#entryOfPosition.set(position, i);
      this.#entries.push({ at: at + 6, xorOffset });
      at += 6 + ewahByteLength(bytes, at + 6);
    }
  }

  /** @throws pack/bad-index when it is malformed or does not belong to the index */
  static parse(bytes: Buffer, index: PackIndex): PackBitmap {
    return new PackBitmap(bytes, index);
  }

  /** True when the commit has a bitmap of its own. */
  has(oid: ObjectId): boolean {
    return this.#entryOfPosition.has(this.#index.find(oid));
  }

  /** What the commit reaches, itself among it, as ranks; a set of the caller's own. undefined: no bitmap. */
  bitmapOf(oid: ObjectId): Bitset | undefined {
    const number = this.#entryOfPosition.get(this.#index.find(oid));
    return number === undefined ? undefined : this.#decode(number).clone();
  }

  #decode(number: number): Bitset {
    const chain: number[] = [];
    let n = number;
    while (!this.#decoded.has(n)) {
      chain.push(n);
      const { xorOffset } = this.#entries[n] as Entry;
      if (xorOffset === 0) break;
      n -= xorOffset;
    }
    let base = this.#decoded.get(n);
    for (const entry of chain.reverse()) {
      const { bits } = parseEwah(this.#bytes, (this.#entries[entry] as Entry).at, this.objectCount);
      if (base !== undefined && entry !== n) bits.xor(base);
      else if (base !== undefined && (this.#entries[entry] as Entry).xorOffset > 0) bits.xor(base);
      base = bits;
    }
    if (base === undefined) throw bad("an entry is missing");
    // A handful is enough: the tips of a repository are asked for again and again.
    if (this.#decoded.size >= 16) this.#decoded.clear();
    this.#decoded.set(number, base);
    return base;
  }
}

function bad(why: string): GitwharfError {
  return new GitwharfError("pack/bad-index", `a bitmap cannot be used: ${why}`);
}
