/**
 * Reachability bitmaps of one pack, or of all packs behind a multi-pack-index (`.bitmap`, version 1): for chosen commits,
 * which of the objects they reach. Of a pack bits are ranks, the order of offsets; of many see `multi-pack-index.ts`.
 * Specification: bitmap-format.
 *
 *     OFFSET  SIZE   MEANING (c commits have a bitmap, n objects, h bytes a hash)
 *     0       4      "BITM"
 *     4       2      version, 1
 *     6       2      options: 1 full closure, 4 name-hash cache, 16 lookup table
 *     8       4      c
 *     12      h      the pack's trailer, or that of the multi-pack-index
 *     …       4 EWAH bitmaps of the types: commits, trees, blobs, tags
 *     …       an entry a commit: index position (4), XOR offset (1), flags (1), EWAH bitmap
 *     …       c·16   lookup table, if any, by position: index position (4), where the entry begins (8), row of the
 *                    entry that it is to be XORed with (4), ff ff ff ff: none
 *     …       n·4    name-hash cache, if any: of no use here
 *     …       h      hash of all the above
 */
import { GitwharfError, isGitwharfError } from "../base/errors.js";
import { hashBytes, type ObjectFormat } from "../object/object-format.js";
import type { ObjectId } from "../object/object-id.js";
import type { Bitset } from "./bitset.js";
import { ewahByteLength, parseEwah } from "./ewah.js";

/** What bitmaps belong to: a pack's index, or a multi-pack-index. */
export interface BitmappedIndex {
  readonly objectFormat: ObjectFormat;
  readonly objectCount: number;
  /** The checksum by which its bitmap names it, hexadecimal. */
  readonly bitmapKey: string;
  /** Position of an object, −1 when it is not there. */
  find(oid: ObjectId): number;
}

interface Entry {
  /** Where the EWAH bitmap begins. */
  readonly at: number;
  /** Number of the entry that it is to be XORed with; −1: it stands for itself. */
  readonly base: number;
}

/** Entries by number: in the order of the file, or that of the lookup table. */
interface Entries {
  /** −1 when the object at a position of the index has none. */
  numberOf(position: number): number;
  /** @throws pack/bad-index */
  entry(number: number): Entry;
}

const FULL_CLOSURE = 1;
const NAME_HASH_CACHE = 4;
const LOOKUP_TABLE = 16;
const ENTRY_HEAD_BYTES = 6;
const TABLE_ROW_BYTES = 16;
const NO_ROW = 0xffffffff;
/** A handful is enough: the tips of a repository are asked for again and again. */
const DECODED_MAX = 16;

/** With a lookup table nothing is read of an entry before it is asked for. */
export class PackBitmap {
  readonly objectCount: number;
  /** Bits of the objects of each type. */
  readonly types: {
    readonly commit: Bitset;
    readonly tree: Bitset;
    readonly blob: Bitset;
    readonly tag: Bitset;
  };
  readonly #index: BitmappedIndex;
  readonly #bytes: Buffer;
  readonly #count: number;
  readonly #entries: Entries;
  readonly #decoded = new Map<number, Bitset>();

  private constructor(bytes: Buffer, index: BitmappedIndex) {
    const h = hashBytes(index.objectFormat);
    this.#bytes = bytes;
    this.#index = index;
    this.objectCount = index.objectCount;
    if (
      bytes.length < 12 + 2 * h ||
      bytes.toString("latin1", 0, 4) !== "BITM" ||
      bytes.readUInt16BE(4) !== 1
    ) {
      throw bad("its head is not that of version 1");
    }
    const options = bytes.readUInt16BE(6);
    if ((options & FULL_CLOSURE) === 0) throw bad("it is not for a closed set of objects");
    if (bytes.toString("hex", 12, 12 + h) !== index.bitmapKey) throw bad("it belongs to another pack");
    this.#count = bytes.readUInt32BE(8);
    let at = 12 + h;
    const next = (): Bitset => {
      const { bits, byteLength } = parseEwah(bytes, at, this.objectCount);
      at += byteLength;
      return bits;
    };
    this.types = { commit: next(), tree: next(), blob: next(), tag: next() };
    const cacheBytes = (options & NAME_HASH_CACHE) === 0 ? 0 : this.objectCount * 4;
    const tableEnd = bytes.length - h - cacheBytes;
    if ((options & LOOKUP_TABLE) === 0) {
      this.#entries = listEntries(bytes, { start: at, end: tableEnd, count: this.#count }, this.objectCount);
    } else {
      const table = tableEnd - this.#count * TABLE_ROW_BYTES;
      if (table < at) throw bad("its lookup table does not fit");
      this.#entries = new TableOfEntries(bytes, { start: at, table, count: this.#count });
    }
  }

  /** @throws pack/bad-index when it is malformed or does not belong to the index */
  static parse(bytes: Buffer, index: BitmappedIndex): PackBitmap {
    return new PackBitmap(bytes, index);
  }

  /** Bytes of memory that it holds, about. */
  get residentBytes(): number {
    return this.#bytes.length + this.objectCount * 2;
  }

  /** True when the commit has a bitmap of its own. */
  has(oid: ObjectId): boolean {
    return this.#numberOf(oid) >= 0;
  }

  /**
   * What the commit reaches, itself among it, as bits; a set of the caller's own. undefined: no bitmap, or one that
   * cannot be read, which is as good as none.
   */
  bitmapOf(oid: ObjectId): Bitset | undefined {
    const number = this.#numberOf(oid);
    if (number < 0) return undefined;
    try {
      return this.#decode(number).clone();
    } catch (error) {
      if (!isGitwharfError(error, "pack/bad-index")) throw error;
      return undefined;
    }
  }

  #numberOf(oid: ObjectId): number {
    const position = this.#index.find(oid);
    return position < 0 ? -1 : this.#entries.numberOf(position);
  }

  #decode(number: number): Bitset {
    const chain: Entry[] = [];
    let base = number;
    while (base >= 0 && !this.#decoded.has(base)) {
      if (chain.length === this.#count) throw bad("its entries stand upon each other in a circle");
      const entry = this.#entries.entry(base);
      chain.push(entry);
      base = entry.base;
    }
    let bits = this.#decoded.get(base);
    for (let entry = chain.pop(); entry !== undefined; entry = chain.pop()) {
      const own = parseEwah(this.#bytes, entry.at, this.objectCount).bits;
      if (bits !== undefined) own.xor(bits);
      bits = own;
    }
    if (bits === undefined) throw bad("an entry is missing");
    if (this.#decoded.size >= DECODED_MAX) this.#decoded.clear();
    this.#decoded.set(number, bits);
    return bits;
  }
}

/** All entries, one after the other, their bitmaps passed over. @throws pack/bad-index */
function listEntries(
  bytes: Buffer,
  place: { readonly start: number; readonly end: number; readonly count: number },
  objectCount: number,
): Entries {
  const entries: Entry[] = [];
  const numbers = new Map<number, number>();
  let at = place.start;
  for (let i = 0; i < place.count; i++) {
    if (at + ENTRY_HEAD_BYTES > place.end) throw bad("it is not whole");
    const position = bytes.readUInt32BE(at);
    const xorOffset = bytes[at + 4] as number;
    if (xorOffset > i || position >= objectCount) throw bad("an entry points outside of it");
    numbers.set(position, i);
    entries.push({ at: at + ENTRY_HEAD_BYTES, base: xorOffset === 0 ? -1 : i - xorOffset });
    at += ENTRY_HEAD_BYTES + ewahByteLength(bytes, at + ENTRY_HEAD_BYTES);
  }
  if (at > place.end) throw bad("it is not whole");
  return {
    numberOf: (position) => numbers.get(position) ?? -1,
    entry: (number) => entries[number] as Entry,
  };
}

class TableOfEntries implements Entries {
  readonly #bytes: Buffer;
  readonly #start: number;
  readonly #table: number;
  readonly #count: number;

  /** @param place where the entries begin, and where the table does, with which they end */
  constructor(
    bytes: Buffer,
    place: { readonly start: number; readonly table: number; readonly count: number },
  ) {
    this.#bytes = bytes;
    this.#start = place.start;
    this.#table = place.table;
    this.#count = place.count;
  }

  numberOf(position: number): number {
    let low = 0;
    let high = this.#count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const have = this.#bytes.readUInt32BE(this.#rowAt(middle));
      if (have === position) return middle;
      if (have < position) low = middle + 1;
      else high = middle;
    }
    return -1;
  }

  entry(number: number): Entry {
    const at = this.#beginningOf(number);
    if (this.#bytes.readUInt32BE(at) !== this.#bytes.readUInt32BE(this.#rowAt(number))) {
      throw bad("its lookup table names another entry");
    }
    const base = this.#bytes.readUInt32BE(this.#rowAt(number) + 12);
    if (base === NO_ROW) return { at: at + ENTRY_HEAD_BYTES, base: -1 };
    if (base >= this.#count) throw bad("its lookup table points outside of it");
    // An entry stands upon one that was written before it, so no chain runs in a circle.
    if (this.#beginningOf(base) >= at) throw bad("an entry stands upon a later one");
    return { at: at + ENTRY_HEAD_BYTES, base };
  }

  #rowAt(number: number): number {
    return this.#table + number * TABLE_ROW_BYTES;
  }

  #beginningOf(number: number): number {
    const row = this.#rowAt(number);
    const at = this.#bytes.readUInt32BE(row + 4) * 2 ** 32 + this.#bytes.readUInt32BE(row + 8);
    if (at < this.#start || at + ENTRY_HEAD_BYTES > this.#table)
      throw bad("its lookup table points outside of it");
    return at;
  }
}

function bad(why: string): GitwharfError {
  return new GitwharfError("pack/bad-index", `a bitmap cannot be used: ${why}`);
}
