/**
 * Objects whose deltas were resolved, kept because they are likely bases of the next ones. One block of memory for
 * all packs of a thread, written round and round: the oldest gives way, and whatever is used shortly before its
 * place is needed is carried forward. Nothing is allocated per object, and a delta is applied inside the block
 * (`applyDeltaWithin`), which makes copies cheap.
 *
 * A place in the block is *logical*: it only grows, and is taken modulo the capacity. What begins less than one
 * capacity before the end of what was reserved last is still intact.
 */
import { OUTPUT_SLACK_BYTES } from "./inflate.js";

/** Candidates for one key. */
const WAYS = 4;
const SETS = 16_384;
/** Nothing larger than this share of the block is taken in. */
const SHARE_MAX = 8;

export class ResolvedObjects {
  /** Largest object that fits. */
  readonly objectBytesMax: number;
  /** The block: the objects, then the caller's scratch space. Allocated on first use, resident as it fills. */
  #memory: Buffer | undefined;
  readonly #capacity: number;
  readonly #scratchBytes: number;
  /** Logical place of the next object, and that of the block's beginning in this round. */
  #head = 0;
  #round = 0;
  /** What was ever reserved ends here: bytes from one capacity below it up are intact. */
  #reservedEnd = 0;

  readonly #owners = new Uint32Array(SETS * WAYS);
  readonly #offsets = new Float64Array(SETS * WAYS);
  readonly #starts = new Float64Array(SETS * WAYS).fill(Number.NEGATIVE_INFINITY);
  readonly #lengths = new Uint32Array(SETS * WAYS);
  readonly #types = new Uint8Array(SETS * WAYS);

  constructor(capacity: number, scratchBytes: number) {
    this.#capacity = capacity;
    this.#scratchBytes = scratchBytes;
    this.objectBytesMax = Math.floor(capacity / SHARE_MAX) - OUTPUT_SLACK_BYTES;
  }

  get memory(): Buffer {
    this.#memory ??= Buffer.allocUnsafeSlow(this.#capacity + this.#scratchBytes);
    return this.#memory;
  }

  /** Where the scratch space begins in `memory`. */
  get scratch(): number {
    return this.#capacity;
  }

  get scratchEnd(): number {
    return this.#capacity + this.#scratchBytes;
  }

  /** A slot, or −1. It is valid until the next `reserve`. @param owner the pack's number; @param offset of the entry */
  find(owner: number, offset: number): number {
    const first = setOf(owner, offset);
    const intact = this.#reservedEnd - this.#capacity;
    for (let slot = first; slot < first + WAYS; slot++) {
      if (
        this.#offsets[slot] === offset &&
        this.#owners[slot] === owner &&
        (this.#starts[slot] as number) >= intact
      ) {
        return slot;
      }
    }
    return -1;
  }

  typeAt(slot: number): number {
    return this.#types[slot] as number;
  }

  lengthAt(slot: number): number {
    return this.#lengths[slot] as number;
  }

  /** Where the object of a slot begins in `memory`. */
  startAt(slot: number): number {
    return this.#physical(this.#starts[slot] as number);
  }

  /**
   * Where the object of a slot begins in `memory`, for use as a base: it stays intact while the next `lengthMax`
   * bytes are reserved (moved forward when it would not).
   */
  hold(slot: number, lengthMax: number): number {
    const start = this.#starts[slot] as number;
    const length = this.#lengths[slot] as number;
    // A round that ends early skips at most what one object needs.
    const needed = 2 * (lengthMax + OUTPUT_SLACK_BYTES) + length;
    if (start >= this.#head + needed - this.#capacity) return this.#physical(start);
    const from = this.#physical(start);
    const to = this.reserve(length);
    this.memory.copyWithin(to, from, from + length);
    this.#starts[slot] = this.#head;
    this.#head += length;
    return to;
  }

  /** Room for an object and the slack behind it, in `memory`. It is kept by `add` only. */
  reserve(length: number): number {
    if (this.#head + length + OUTPUT_SLACK_BYTES > this.#round + this.#capacity) {
      this.#round += this.#capacity;
      this.#head = this.#round;
    }
    this.#reservedEnd = Math.max(this.#reservedEnd, this.#head + length + OUTPUT_SLACK_BYTES);
    return this.#head - this.#round;
  }

  /** The object that stands where the last `reserve` said. */
  add(owner: number, offset: number, type: number, length: number): number {
    const first = setOf(owner, offset);
    let slot = first;
    for (let candidate = first; candidate < first + WAYS; candidate++) {
      if (this.#offsets[candidate] === offset && this.#owners[candidate] === owner) {
        slot = candidate;
        break;
      }
      if ((this.#starts[candidate] as number) < (this.#starts[slot] as number)) slot = candidate;
    }
    this.#owners[slot] = owner;
    this.#offsets[slot] = offset;
    this.#types[slot] = type;
    this.#starts[slot] = this.#head;
    this.#lengths[slot] = length;
    this.#head += length;
    return slot;
  }

  #physical(start: number): number {
    return start >= this.#round ? start - this.#round : start - this.#round + this.#capacity;
  }
}

function setOf(owner: number, offset: number): number {
  const high = (offset / 4_294_967_296) | 0;
  let h = Math.imul((offset | 0) ^ Math.imul(owner, 0x85eb_ca6b) ^ high, 0x9e37_79b1);
  h ^= h >>> 15;
  return (h & (SETS - 1)) * WAYS;
}
