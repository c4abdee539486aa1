/**
 * Adds to a set of bits all that a tree leads to. What is in the set already is not looked at again: everything that it
 * leads to is there, or will be when the call has ended.
 */
import type { Bitset } from "../../pack/bitset.js";
import { TREE } from "../fetch/pack-survey.js";
import type { WorkBudget } from "../fetch/work-budget.js";
import { OUTSIDE, type PackLinks } from "./pack-links.js";

/** Deltas upon deltas beyond which the tree itself is read. */
const PATH_MAX = 256;

export class TreeReach {
  readonly #links: PackLinks;
  readonly #budget: WorkBudget;
  #stack = new Int32Array(1 << 10);
  #depth = 0;
  /** How often each object stands in the tree at hand, and where that is not 0. */
  readonly #counts: Int32Array;
  readonly #touched: number[] = [];
  readonly #path: number[] = [];
  /** A tree, by bit, that refers to an object outside of the packs. */
  openTree: number | undefined;

  constructor(links: PackLinks, budget: WorkBudget) {
    this.#links = links;
    this.#budget = budget;
    this.#counts = new Int32Array(links.types.length);
  }

  /** @throws object/corrupt, storage/io */
  async reach(tree: number, bits: Bitset): Promise<void> {
    if (bits.has(tree)) return;
    this.#add(tree, bits);
    while (this.#depth > 0) {
      const bit = this.#stack[--this.#depth] as number;
      if (this.#budget.spend(0.2)) await this.#budget.pause();
      if (this.#follow(bit, bits)) continue;
      for (const link of await this.#links.readTree(bit)) this.#meet(link, bits, bit);
    }
  }

  /** False when the tree must be read. */
  #follow(tree: number, bits: Bitset): boolean {
    const links = this.#links;
    if (!links.isKnown(tree)) return false;
    const { added } = links;
    const base = links.bases[tree] as number;
    if (!links.isRelative(tree) || bits.has(base)) {
      for (let i = added.starts[tree] as number; i < (added.ends[tree] as number); i++)
        this.#meet(added.links[i] as number, bits, tree);
      return true;
    }
    return this.#followPath(tree, bits);
  }

  /** From the nearest base that is in the set, or stands whole, to the tree: what came on the way and did not go again. */
  #followPath(tree: number, bits: Bitset): boolean {
    const links = this.#links;
    const { added, dropped } = links;
    const path = this.#path;
    path.length = 0;
    let at = tree;
    while (links.isRelative(at) && (at === tree || !bits.has(at))) {
      if (path.push(at) > PATH_MAX) return false;
      at = links.bases[at] as number;
    }
    if (!links.isKnown(at)) return false;
    if (!bits.has(at)) this.#count(added, at, 1);
    for (let step = path.pop(); step !== undefined; step = path.pop()) {
      this.#count(dropped, step, -1);
      this.#count(added, step, 1);
    }
    for (const bit of this.#touched) {
      const count = this.#counts[bit] as number;
      this.#counts[bit] = 0;
      if (count > 0) this.#meet(bit, bits, tree);
    }
    this.#touched.length = 0;
    return true;
  }

  #count({ starts, ends, links }: PackLinks["added"], tree: number, by: number): void {
    for (let i = starts[tree] as number; i < (ends[tree] as number); i++) {
      const bit = links[i] as number;
      if (bit === OUTSIDE) {
        this.openTree ??= tree;
        continue;
      }
      this.#touched.push(bit);
      this.#counts[bit] = (this.#counts[bit] as number) + by;
    }
  }

  #meet(bit: number, bits: Bitset, tree: number): void {
    if (bit === OUTSIDE) this.openTree ??= tree;
    else if (!bits.has(bit)) this.#add(bit, bits);
  }

  #add(bit: number, bits: Bitset): void {
    bits.add(bit);
    if (this.#links.types[bit] !== TREE) return;
    if (this.#depth === this.#stack.length) {
      const larger = new Int32Array(this.#depth * 2);
      larger.set(this.#stack);
      this.#stack = larger;
    }
    this.#stack[this.#depth++] = bit;
  }
}
