/** Raw ids, numbered in the order in which they are first met. Some bytes each and no objects. */
export class IdRows {
  readonly #hashBytes: number;
  #oids: Buffer;
  /** Row + 1; 0 = empty. At most half full. */
  #slots = new Uint32Array(1 << 12);
  #count = 0;

  constructor(hashBytes: number) {
    this.#hashBytes = hashBytes;
    this.#oids = Buffer.alloc((1 << 11) * hashBytes);
  }

  get count(): number {
    return this.#count;
  }

  /** All ids, one after the other. Borrowed; replaced when there is a new one. */
  get oids(): Buffer {
    return this.#oids.subarray(0, this.#count * this.#hashBytes);
  }

  /** The row of an id; one that was not met before gets the next. */
  rowOf(raw: Uint8Array, at = 0): number {
    const mask = this.#slots.length - 1;
    let slot = spread(raw, at) & mask;
    for (; this.#slots[slot] !== 0; slot = (slot + 1) & mask) {
      const row = (this.#slots[slot] as number) - 1;
      if (this.#isAt(row, raw, at)) return row;
    }
    const row = this.#count++;
    const h = this.#hashBytes;
    for (let i = 0; i < h; i++) this.#oids[row * h + i] = raw[at + i] as number;
    this.#slots[slot] = row + 1;
    if (this.#count * 2 >= this.#slots.length) this.#grow();
    return row;
  }

  #isAt(row: number, raw: Uint8Array, at: number): boolean {
    const start = row * this.#hashBytes;
    for (let i = 0; i < this.#hashBytes; i++) if (this.#oids[start + i] !== raw[at + i]) return false;
    return true;
  }

  #grow(): void {
    const slots = new Uint32Array(this.#slots.length * 2);
    const oids = Buffer.alloc((slots.length / 2) * this.#hashBytes);
    this.#oids.copy(oids);
    const mask = slots.length - 1;
    for (let row = 0; row < this.#count; row++) {
      let slot = spread(oids, row * this.#hashBytes) & mask;
      while (slots[slot] !== 0) slot = (slot + 1) & mask;
      slots[slot] = row + 1;
    }
    this.#slots = slots;
    this.#oids = oids;
  }
}

/** Bytes from the middle of the id: who chooses ids by their beginning does not choose these as well. */
function spread(raw: Uint8Array, at: number): number {
  return (
    (raw[at + 8] as number) |
    ((raw[at + 9] as number) << 8) |
    ((raw[at + 10] as number) << 16) |
    ((raw[at + 11] as number) << 24)
  );
}
