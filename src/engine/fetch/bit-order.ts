/**
 * Which object of a space each bit of a bitmap stands for: of a pack's bitmaps the one with that rank, of those of a
 * multi-pack-index the one at the place that its RIDX names.
 */
import { LRUCache } from "lru-cache";
import { cacheOfProcess } from "../../base/process-caches.js";
import { hashBytes } from "../../object/object-format.js";
import type { ObjectId } from "../../object/object-id.js";
import type { BitmappedIndex } from "../../pack/bitmap.js";
import type { MultiPackIndex } from "../../pack/multi-pack-index.js";
import type { Pack } from "../../pack/pack.js";
import type { ObjectSpace } from "./object-space.js";
import { packIdentity } from "./reachable-set.js";

export interface BitOrder {
  /** What the bitmaps belong to. */
  readonly index: BitmappedIndex & {
    findBytes(raw: Uint8Array, offset: number): number;
    oidAt(position: number): ObjectId;
  };
  /** By position in `index`. */
  bitOfPosition(position: number): number;
  positionAt(bit: number): number;
  /** −1 when the bitmaps do not know the object. */
  bitOf(oid: ObjectId): number;
  bitAt(ordinal: number): number;
  /** The object's one ordinal, whichever of its copies the bitmaps mean. */
  ordinalAt(bit: number): number;
}

/** Of the largest pack, whose ordinals are its positions. */
export class PackBitOrder implements BitOrder {
  readonly index: Pack["index"];
  readonly #pack: Pack;
  #ranks: Uint32Array | undefined;

  /** @param options.manyLookups makes them cheaper at the price of four bytes an object. @default false */
  constructor(pack: Pack, { manyLookups = false } = {}) {
    this.#pack = pack;
    this.index = pack.index;
    if (!manyLookups) return;
    this.#ranks = new Uint32Array(pack.objectCount);
    for (let rank = 0; rank < pack.objectCount; rank++) this.#ranks[pack.offsets.positionAtRank(rank)] = rank;
  }

  bitOfPosition(position: number): number {
    if (this.#ranks !== undefined) return this.#ranks[position] as number;
    return this.#pack.offsets.rankOfOffset(this.index.offsetAt(position));
  }

  positionAt(bit: number): number {
    return this.#pack.offsets.positionAtRank(bit);
  }

  bitOf(oid: ObjectId): number {
    const position = this.index.find(oid);
    return position < 0 ? -1 : this.bitOfPosition(position);
  }

  bitAt(ordinal: number): number {
    return ordinal < 0 || ordinal >= this.index.objectCount ? -1 : this.bitOfPosition(ordinal);
  }

  ordinalAt(bit: number): number {
    return this.#pack.offsets.positionAtRank(bit);
  }
}

/** Of many packs together: 8 bytes an object, and 4 for each ordinal of the space. */
export class ManyPacksBitOrder implements BitOrder {
  readonly index: MultiPackIndex;
  readonly #bits: Uint32Array;
  readonly #bitsOfOrdinals: Int32Array;
  readonly #ordinals: Int32Array;

  private constructor(
    index: MultiPackIndex,
    columns: {
      readonly bits: Uint32Array;
      readonly bitsOfOrdinals: Int32Array;
      readonly ordinals: Int32Array;
    },
  ) {
    this.index = index;
    this.#bits = columns.bits;
    this.#bitsOfOrdinals = columns.bitsOfOrdinals;
    this.#ordinals = columns.ordinals;
  }

  /**
   * @param packs that the index names, by their numbers
   * @returns undefined when it has no order of bits, that order is none, or it does not go with the packs of the space
   */
  static of(
    space: ObjectSpace,
    index: MultiPackIndex,
    packs: readonly Pack[],
  ): ManyPacksBitOrder | undefined {
    const key = [index.bitmapKey, ...space.packs.map(packIdentity)].join("\n");
    const known = orders.get(key);
    if (known !== undefined) return known;
    const bits = readBits(index);
    if (bits === undefined) return undefined;
    const n = index.objectCount;
    const bitsOfOrdinals = new Int32Array(space.packedCount).fill(-1);
    const ordinals = new Int32Array(n).fill(-1);
    const id = Buffer.alloc(hashBytes(index.objectFormat));
    const meet = (ordinal: number, bit: number): void => {
      bitsOfOrdinals[ordinal] = bit;
      const known = ordinals[bit] as number;
      // The first pack that holds an object counts.
      if (known < 0 || ordinal < known) ordinals[bit] = ordinal;
    };
    /** An object of pack k that is not listed in it, or not there. */
    const meetOther = (k: number, position: number): void => {
      (space.packs[k] as Pack).index.copyOid(position, id, 0);
      const at = index.findBytes(id, 0);
      if (at >= 0) meet((space.firsts[k] as number) + position, bits[at] as number);
    };
    const numbers = new Map(space.packs.map((pack, k) => [pack, k]));
    const listed = packs.map((pack) => numbers.get(pack) ?? -1);
    /** By pack of the space. Its objects are listed in the order in which they stand in its own index. */
    const next = new Uint32Array(space.packs.length);
    for (let at = 0; at < n; at++) {
      const k = listed[index.packAt(at)] as number;
      const pack = space.packs[k];
      if (pack === undefined) return undefined;
      const offset = index.offsetAt(at);
      let position = next[k] as number;
      for (; position < pack.objectCount && pack.index.offsetAt(position) !== offset; position++)
        meetOther(k, position);
      if (position === pack.objectCount) return undefined;
      meet((space.firsts[k] as number) + position, bits[at] as number);
      next[k] = position + 1;
    }
    for (const [k, pack] of space.packs.entries())
      for (let position = next[k] as number; position < pack.objectCount; position++) meetOther(k, position);
    const order = new ManyPacksBitOrder(index, { bits, bitsOfOrdinals, ordinals });
    orders.set(key, order);
    return order;
  }

  get residentBytes(): number {
    const columns = this.#bits.byteLength + this.#bitsOfOrdinals.byteLength + this.#ordinals.byteLength;
    return columns + this.index.bytes.byteLength;
  }

  bitOfPosition(position: number): number {
    return this.#bits[position] as number;
  }

  positionAt(bit: number): number {
    return this.index.positionAtBit(bit);
  }

  bitOf(oid: ObjectId): number {
    const position = this.index.find(oid);
    return position < 0 ? -1 : this.bitOfPosition(position);
  }

  bitAt(ordinal: number): number {
    return this.#bitsOfOrdinals[ordinal] ?? -1;
  }

  ordinalAt(bit: number): number {
    return this.#ordinals[bit] as number;
  }
}

const ORDERS_BYTES_MAX = 64 * 1024 * 1024;

const orders = cacheOfProcess(
  new LRUCache<string, ManyPacksBitOrder>({
    maxSize: ORDERS_BYTES_MAX,
    sizeCalculation: (order) => order.residentBytes,
  }),
);

/** The bit of each position; undefined unless each has one. */
function readBits(index: MultiPackIndex): Uint32Array | undefined {
  if (!index.hasBitOrder) return undefined;
  const n = index.objectCount;
  const bits = new Uint32Array(n).fill(NO_BIT);
  for (let bit = 0; bit < n; bit++) {
    const position = index.positionAtBit(bit);
    if (position >= n || bits[position] !== NO_BIT) return undefined;
    bits[position] = bit;
  }
  return bits;
}

const NO_BIT = 0xffffffff;
