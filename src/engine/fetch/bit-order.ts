/**
 * Which object of a space each bit of a bitmap stands for: of a pack's bitmaps the one with that rank, of those of a
 * multi-pack-index the one at the place that its RIDX names.
 */
import { LRUCache } from "lru-cache";
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

  /** undefined when it has no order of bits, that order is none, or one of its objects is in no pack of the space. */
  static of(space: ObjectSpace, index: MultiPackIndex): ManyPacksBitOrder | undefined {
    const key = [index.bitmapKey, ...space.packs.map(packIdentity)].join("\n");
    const known = orders.get(key);
    if (known !== undefined) return known;
    const bits = readBits(index);
    if (bits === undefined) return undefined;
    const n = index.objectCount;
    const bitsOfOrdinals = new Int32Array(space.packedCount).fill(-1);
    const ordinals = new Int32Array(n).fill(-1);
    const id = Buffer.alloc(hashBytes(index.objectFormat));
    let left = n;
    for (const [k, pack] of space.packs.entries()) {
      const first = space.firsts[k] as number;
      const count = pack.objectCount;
      // Both lists are in order: of a large pack they are gone through side by side.
      const isMerged = count * MERGED_FROM > n && index.packNames.includes(pack.name);
      for (let position = 0, at = 0; position < count; position++) {
        pack.index.copyOid(position, id, 0);
        if (isMerged) while (at < n && !index.hasOidAt(at, id, 0)) at++;
        else at = index.findBytes(id, 0);
        if (isMerged && at === n) return undefined;
        if (at < 0) continue;
        const bit = bits[at] as number;
        bitsOfOrdinals[first + position] = bit;
        if ((ordinals[bit] as number) >= 0) continue;
        ordinals[bit] = first + position;
        left--;
      }
    }
    if (left > 0) return undefined;
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

/** Looking an object up takes about as long as so many steps along both lists. */
const MERGED_FROM = 16;
const ORDERS_BYTES_MAX = 64 * 1024 * 1024;

const orders = new LRUCache<string, ManyPacksBitOrder>({
  maxSize: ORDERS_BYTES_MAX,
  sizeCalculation: (order) => order.residentBytes,
});

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
