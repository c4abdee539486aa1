/**
 * The set of ids that new objects refer to, with the types they are referred to as. Raw ids in an open hash table:
 * an insertion costs some tens of nanoseconds and no allocation.
 *
 * A peer chooses these ids freely (nothing needs to exist), so the hash function is secret: multipliers drawn once
 * a process keep anyone from choosing ids that all fall into one place.
 */
import { randomBytes } from "node:crypto";

/** Pack type codes: 1 commit, 2 tree, 3 blob, 4 tag. */
export type Kind = 1 | 2 | 3 | 4;

const FIRST_CAPACITY = 1024;
const multipliers = new Int32Array(8);
{
  const random = randomBytes(multipliers.byteLength);
  for (let i = 0; i < multipliers.length; i++) multipliers[i] = random.readInt32LE(i * 4) | 1;
}

/** Memory: two ids of space and about 10 bytes for each member. */
export class LinkSet {
  readonly #hashBytes: number;
  /** Place → number of the member + 1; 0 = empty. */
  #places = new Int32Array(FIRST_CAPACITY * 2);
  #oids: Uint8Array;
  /** `1 << kind` for every kind that the id was referred to as. */
  #kinds = new Uint8Array(FIRST_CAPACITY);
  #count = 0;

  constructor(hashBytes: number) {
    this.#hashBytes = hashBytes;
    this.#oids = new Uint8Array(FIRST_CAPACITY * hashBytes);
  }

  get size(): number {
    return this.#count;
  }

  /** Raw ids, in order of insertion. Borrowed until the next insertion. */
  get oids(): Uint8Array {
    return this.#oids.subarray(0, this.#count * this.#hashBytes);
  }

  /** Bits `1 << kind`, in the same order. Borrowed likewise. */
  get kinds(): Uint8Array {
    return this.#kinds.subarray(0, this.#count);
  }

  add(bytes: Uint8Array, at: number, kind: Kind): void {
    this.addKinds(bytes, at, 1 << kind);
  }

  /** @param kinds bits `1 << kind` */
  addKinds(bytes: Uint8Array, at: number, kinds: number): void {
    const place = this.#place(bytes, at);
    const member = (this.#places[place] as number) - 1;
    if (member >= 0) {
      this.#kinds[member] = (this.#kinds[member] as number) | kinds;
      return;
    }
    if (this.#count === this.#kinds.length) {
      this.#grow();
      this.addKinds(bytes, at, kinds);
      return;
    }
    const to = this.#count * this.#hashBytes;
    for (let i = 0; i < this.#hashBytes; i++) this.#oids[to + i] = bytes[at + i] as number;
    this.#kinds[this.#count] = kinds;
    this.#places[place] = ++this.#count;
  }

  /** Number of the member in order of insertion, −1 when it is none. */
  find(bytes: Uint8Array, at: number): number {
    return (this.#places[this.#place(bytes, at)] as number) - 1;
  }

  /** Where the id stands, or the empty place where it would. */
  #place(bytes: Uint8Array, at: number): number {
    const h = this.#hashBytes;
    const mask = this.#places.length - 1;
    let place = hashOf(bytes, at, h) & mask;
    for (;;) {
      const member = (this.#places[place] as number) - 1;
      if (member < 0) return place;
      const from = member * h;
      let i = 0;
      while (i < h && this.#oids[from + i] === bytes[at + i]) i++;
      if (i === h) return place;
      place = (place + 1) & mask;
    }
  }

  #grow(): void {
    const capacity = this.#kinds.length * 2;
    const oids = new Uint8Array(capacity * this.#hashBytes);
    oids.set(this.#oids);
    const kinds = new Uint8Array(capacity);
    kinds.set(this.#kinds);
    this.#oids = oids;
    this.#kinds = kinds;
    const places = new Int32Array(capacity * 2);
    const mask = places.length - 1;
    for (let member = 0; member < this.#count; member++) {
      let place = hashOf(oids, member * this.#hashBytes, this.#hashBytes) & mask;
      while (places[place] !== 0) place = (place + 1) & mask;
      places[place] = member + 1;
    }
    this.#places = places;
  }
}

function hashOf(bytes: Uint8Array, at: number, h: number): number {
  let sum = 0;
  for (let i = 0, m = 0; i < h; i += 4, m++) {
    const word =
      (bytes[at + i] as number) |
      ((bytes[at + i + 1] as number) << 8) |
      ((bytes[at + i + 2] as number) << 16) |
      ((bytes[at + i + 3] as number) << 24);
    sum = Math.imul(sum ^ word, multipliers[m] as number);
    sum ^= sum >>> 15;
  }
  return sum >>> 0;
}
