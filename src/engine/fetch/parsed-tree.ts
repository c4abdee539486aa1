/**
 * A tree's bytes, and where its entries begin once somebody asked. A tree that is laid beside one whose beginnings
 * are known learns its own from it, at little cost.
 */
import { TreeCursor } from "./tree-cursor.js";

export class ParsedTree {
  readonly data: Buffer;
  #starts: Uint32Array | undefined;

  constructor(data: Buffer) {
    this.data = data;
  }

  get knownStarts(): Uint32Array | undefined {
    return this.#starts;
  }

  /** Ascending, one for each entry. @throws object/corrupt */
  starts(hashBytes: number): Uint32Array {
    if (this.#starts === undefined) {
      const found = new StartList(this.data.length >>> 5);
      const cursor = new TreeCursor(this.data, hashBytes);
      while (cursor.next()) found.add(cursor.start);
      this.#starts = found.finish();
    }
    return this.#starts;
  }

  /** Takes over beginnings that were found by comparing. */
  learnStarts(starts: Uint32Array): void {
    this.#starts = starts;
  }
}

/** A growing list of beginnings. */
export class StartList {
  #starts: Uint32Array;
  #count = 0;

  constructor(capacity: number) {
    this.#starts = new Uint32Array(capacity + 16);
  }

  add(start: number): void {
    if (this.#count === this.#starts.length) this.#reserve(1);
    this.#starts[this.#count++] = start;
  }

  /** Adds `from[first]` to `from[end - 1]`, each moved by `shift`. */
  addShifted(from: Uint32Array, first: number, end: number, shift: number): void {
    if (this.#count + end - first > this.#starts.length) this.#reserve(end - first);
    let count = this.#count;
    for (let i = first; i < end; i++) this.#starts[count++] = (from[i] as number) + shift;
    this.#count = count;
  }

  finish(): Uint32Array {
    return this.#starts.slice(0, this.#count);
  }

  #reserve(more: number): void {
    const larger = new Uint32Array((this.#count + more) * 2);
    larger.set(this.#starts);
    this.#starts = larger;
  }
}
