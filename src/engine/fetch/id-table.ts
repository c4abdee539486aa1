/**
 * A hash table over the ids of all packed objects of a space: a lookup touches two places in memory, where a search
 * in an index touches half a dozen. Pays from some hundred thousand lookups on.
 */
import type { Pack } from "../../pack/pack.js";

export class IdTable {
  readonly #packs: readonly Pack[];
  readonly #firsts: readonly number[];
  /** Ordinal + 1; 0 = empty. At most half full. */
  readonly #slots: Int32Array;
  readonly #mask: number;

  /**
   * @param packs in the order of their ordinals; of an object in several packs the first counts
   * @param firsts the first ordinal of each pack
   */
  constructor(packs: readonly Pack[], firsts: readonly number[], hashBytes: number) {
    const objectCount = packs.reduce((sum, pack) => sum + pack.index.objectCount, 0);
    let size = 1024;
    while (size < objectCount * 2) size *= 2;
    this.#packs = packs;
    this.#firsts = firsts;
    this.#slots = new Int32Array(size);
    this.#mask = size - 1;
    const id = Buffer.alloc(hashBytes);
    for (const [k, { index }] of packs.entries()) {
      const first = firsts[k] as number;
      for (let position = 0; position < index.objectCount; position++) {
        index.copyOid(position, id, 0);
        this.#insert(id, first + position);
      }
    }
  }

  /** −1 when the id is in no pack. */
  find(bytes: Uint8Array, offset: number): number {
    const mask = this.#mask;
    for (let at = spread(bytes, offset) & mask; ; at = (at + 1) & mask) {
      const ordinal = (this.#slots[at] as number) - 1;
      if (ordinal < 0 || this.#isAt(ordinal, bytes, offset)) return ordinal;
    }
  }

  #insert(id: Uint8Array, ordinal: number): void {
    const mask = this.#mask;
    let at = spread(id, 0) & mask;
    for (; this.#slots[at] !== 0; at = (at + 1) & mask) {
      if (this.#isAt((this.#slots[at] as number) - 1, id, 0)) return;
    }
    this.#slots[at] = ordinal + 1;
  }

  #isAt(ordinal: number, bytes: Uint8Array, offset: number): boolean {
    const k = packOfOrdinal(this.#firsts, ordinal);
    return (this.#packs[k] as Pack).index.hasOidAt(ordinal - (this.#firsts[k] as number), bytes, offset);
  }
}

/** The last pack whose first ordinal is not above this one. Most objects are in the first. */
export function packOfOrdinal(firsts: readonly number[], ordinal: number): number {
  let low = 0;
  let high = firsts.length;
  if (high < 2 || ordinal < (firsts[1] as number)) return 0;
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if ((firsts[middle] as number) <= ordinal) low = middle;
    else high = middle;
  }
  return low;
}

/** Bytes from the middle of the id: who chooses ids by their beginning does not choose these as well. */
function spread(bytes: Uint8Array, offset: number): number {
  return (
    (bytes[offset + 8] as number) |
    ((bytes[offset + 9] as number) << 8) |
    ((bytes[offset + 10] as number) << 16) |
    ((bytes[offset + 11] as number) << 24)
  );
}
