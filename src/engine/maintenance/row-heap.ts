/** A priority queue of rows: the one with the highest place comes first. A binary heap of numbers. */
export class RowHeap {
  readonly #places: Uint32Array;
  #rows = new Uint32Array(64);
  #count = 0;

  /** @param places by row */
  constructor(places: Uint32Array) {
    this.#places = places;
  }

  push(row: number): void {
    if (this.#count === this.#rows.length) {
      const larger = new Uint32Array(this.#count * 2);
      larger.set(this.#rows);
      this.#rows = larger;
    }
    let at = this.#count++;
    while (at > 0) {
      const above = (at - 1) >>> 1;
      if (this.#placeAt(above) >= (this.#places[row] as number)) break;
      this.#rows[at] = this.#rows[above] as number;
      at = above;
    }
    this.#rows[at] = row;
  }

  /** −1 when it is empty. */
  pop(): number {
    if (this.#count === 0) return -1;
    const first = this.#rows[0] as number;
    const last = this.#rows[--this.#count] as number;
    const place = this.#places[last] as number;
    let at = 0;
    for (;;) {
      let below = at * 2 + 1;
      if (below >= this.#count) break;
      if (below + 1 < this.#count && this.#placeAt(below + 1) > this.#placeAt(below)) below++;
      if (this.#placeAt(below) <= place) break;
      this.#rows[at] = this.#rows[below] as number;
      at = below;
    }
    this.#rows[at] = last;
    return first;
  }

  #placeAt(at: number): number {
    return this.#places[this.#rows[at] as number] as number;
  }
}
