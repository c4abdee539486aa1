/**
 * One hash table over the ids of many small packs, so that a lookup in a repository of hundreds of pushed packs
 * probes once instead of searching every index. It names candidates; the pack's own index decides.
 *
 * Grows in place and is shared by all views of one repository: a view passes by candidates that it does not hold.
 * Memory: 16 to 32 bytes an object.
 */
import type { Pack } from "../pack/pack.js";

const FIRST_CAPACITY = 1 << 12;

export class PackTable {
  readonly #packs: Pack[] = [];
  readonly #known = new Set<Pack>();
  #prefixes = new Uint32Array(FIRST_CAPACITY);
  /** Number of the pack + 1; 0 = empty place. */
  #numbers = new Uint32Array(FIRST_CAPACITY);
  #count = 0;

  /** Entries, those of packs that no view holds any more included. */
  get entryCount(): number {
    return this.#count;
  }

  holds(pack: Pack): boolean {
    return this.#known.has(pack);
  }

  add(pack: Pack): void {
    if (this.#known.has(pack)) return;
    const { index } = pack;
    this.#reserve(this.#count + index.objectCount);
    this.#packs.push(pack);
    this.#known.add(pack);
    const id = Buffer.alloc(32);
    for (let position = 0; position < index.objectCount; position++) {
      index.copyOid(position, id, 0);
      this.#insert(id.readUInt32LE(0), this.#packs.length);
    }
  }

  /** The first pack of `members` that may hold the raw id and does: answers through `use(pack, position)`. */
  find<T>(id: Buffer, members: ReadonlySet<Pack>, use: (pack: Pack, position: number) => T): T | undefined {
    const prefix = id.readUInt32LE(0);
    const mask = this.#prefixes.length - 1;
    for (let at = scatter(prefix) & mask; ; at = (at + 1) & mask) {
      const number = this.#numbers[at] as number;
      if (number === 0) return undefined;
      if (this.#prefixes[at] !== prefix) continue;
      const pack = this.#packs[number - 1] as Pack;
      if (!members.has(pack)) continue;
      const position = pack.index.findBytes(id, 0);
      if (position >= 0) return use(pack, position);
    }
  }

  #insert(prefix: number, number: number): void {
    const mask = this.#prefixes.length - 1;
    let at = scatter(prefix) & mask;
    while (this.#numbers[at] !== 0) at = (at + 1) & mask;
    this.#prefixes[at] = prefix;
    this.#numbers[at] = number;
    this.#count++;
  }

  /** At most half of the places are taken. */
  #reserve(count: number): void {
    let capacity = this.#prefixes.length;
    while (capacity < count * 2) capacity *= 2;
    if (capacity === this.#prefixes.length) return;
    const prefixes = this.#prefixes;
    const numbers = this.#numbers;
    this.#prefixes = new Uint32Array(capacity);
    this.#numbers = new Uint32Array(capacity);
    this.#count = 0;
    for (let at = 0; at < prefixes.length; at++) {
      const number = numbers[at] as number;
      if (number !== 0) this.#insert(prefixes[at] as number, number);
    }
  }
}

/** Ids are uniform unless someone chose them: a multiplication keeps chosen runs from piling up in one place. */
function scatter(prefix: number): number {
  return (Math.imul(prefix ^ (prefix >>> 15), 0x9e3779b1) >>> 0) ^ (prefix >>> 7);
}
