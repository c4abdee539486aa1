/**
 * What each object of a pack, or of all packs behind a multi-pack-index, refers to, exactly and by bit, for walking it many
 * times: a tree that is stored as a delta is known by what it has more and less than its base. With it the hashes of the
 * paths at which objects stand.
 *
 * Of an object in several packs the copy in the largest counts. Bases stand in the pack of their delta, so the copy of a base
 * that counts is in that pack or a larger one: no chain of bases runs in a circle.
 */
import { GitwharfError } from "../../base/errors.js";
import { isPromise } from "../../base/maybe-promise.js";
import { forEachTreeEntry, MODE_GITLINK } from "../../object/tree.js";
import { countedLength, extendNameHash, joinNameHash } from "../../pack/name-hash.js";
import type { BitOrder } from "../fetch/bit-order.js";
import type { ObjectSpace } from "../fetch/object-space.js";
import { BLOB, COMMIT, LINKS_ADDED, LINKS_UNKNOWN, surveyPack, TREE } from "../fetch/pack-survey.js";
import type { WorkBudget } from "../fetch/work-budget.js";

/** A link to an object that is not in the packs. */
export const OUTSIDE = -1;

export interface PackLinks {
  readonly order: BitOrder;
  /** 1..4; 0 when it is a delta upon what is not in its pack. */
  readonly types: Uint8Array;
  /** Bits; negative when the object is stored whole. */
  readonly bases: Int32Array;
  /** True when `added` and `dropped` say how it differs from its base; false: `added` is all there is. */
  isRelative(bit: number): boolean;
  /** False: read the tree with `readTree`. */
  isKnown(bit: number): boolean;
  readonly added: LinkColumn;
  readonly dropped: LinkColumn;
  /** All links of a tree, by reading it. @throws object/corrupt, storage/io */
  readTree(bit: number): Promise<readonly number[]>;
  /** Git's name hash of each object, by position in the index. */
  nameHashes(): Uint32Array;
}

/** `links[starts[bit]]` to `links[ends[bit] - 1]`: bits, or OUTSIDE. */
export interface LinkColumn {
  readonly starts: Uint32Array;
  readonly ends: Uint32Array;
  readonly links: Int32Array;
}

/** @param space of the packs alone. @throws object/corrupt, storage/io */
export async function linkPacks(space: ObjectSpace, order: BitOrder, budget: WorkBudget): Promise<PackLinks> {
  const n = order.index.objectCount;
  space.prepareForManyLookups();
  const types = new Uint8Array(n);
  const bases = new Int32Array(n).fill(OUTSIDE);
  const known = new Uint8Array(n);
  const names = new ObjectNames(n);
  const added = new LinkBuilder(n);
  const dropped = new LinkBuilder(n);
  for (const [k, pack] of space.packs.entries()) {
    const first = space.firsts[k] as number;
    const { offsets } = pack;
    const bitOfRank = (rank: number): number => order.bitAt(first + offsets.positionAtRank(rank));
    const survey = await surveyPack(space, pack, budget, (rank, scratch) => {
      const tree = bitOfRank(rank);
      // A larger pack has it as well.
      if (types[tree] !== 0) return;
      const { bytes } = scratch;
      for (let i = 0; i < scratch.foundCount; i++) {
        const oidAt = scratch.found[i] as number;
        const bit = order.bitAt(space.findPackedBytes(bytes, oidAt));
        if (bit !== OUTSIDE) names.note(bit, tree, bytes, scratch.foundNames[i] as number, oidAt - 1);
      }
      dropped.begin(tree);
      for (let i = 0; i < scratch.droppedCount; i++)
        dropped.add(order.bitAt(space.findPackedBytes(bytes, scratch.dropped[i] as number)));
      dropped.end(tree);
    });
    for (let rank = 0; rank < pack.objectCount; rank++) {
      const bit = bitOfRank(rank);
      if (types[bit] !== 0) continue;
      const base = survey.bases[rank] as number;
      types[bit] = survey.types[rank] as number;
      bases[bit] = base < 0 ? base : bitOfRank(base);
      known[bit] = survey.known[rank] as number;
      added.begin(bit);
      for (let i = survey.starts[rank] as number; i < (survey.ends[rank] as number); i++)
        added.add(order.bitAt(survey.links[i] as number));
      added.end(bit);
    }
  }
  return {
    order,
    types,
    bases,
    isRelative: (bit) => known[bit] === LINKS_ADDED,
    isKnown: (bit) => known[bit] !== LINKS_UNKNOWN,
    added,
    dropped,
    async readTree(bit) {
      const read = space.read(order.ordinalAt(bit));
      const { type, data } = isPromise(read) ? await read : read;
      if (type !== "tree") {
        const oid = space.oidOf(order.ordinalAt(bit));
        throw new GitwharfError(
          "object/corrupt",
          `object ${oid} is a ${type}, not a tree; run 'gitwharf fsck'`,
        );
      }
      const links: number[] = [];
      forEachTreeEntry(data, space.objectFormat, (mode, nameStart, nameEnd, oidAt) => {
        if ((mode & 0o170000) === MODE_GITLINK) return;
        const link = order.bitAt(space.findPackedBytes(data, oidAt));
        links.push(link);
        if (link !== OUTSIDE) names.note(link, bit, data, nameStart, nameEnd);
      });
      return links;
    },
    nameHashes() {
      for (let bit = 0; bit < n; bit++) {
        // A commit's tree is its first link.
        const isRead = types[bit] === COMMIT && known[bit] !== LINKS_UNKNOWN;
        const tree = isRead ? (added.links[added.starts[bit] as number] as number) : OUTSIDE;
        if (tree !== OUTSIDE) names.noteRoot(tree);
      }
      const byBit = names.finish((bit) => types[bit] === TREE || types[bit] === BLOB);
      const hashes = new Uint32Array(n);
      for (let bit = 0; bit < n; bit++) hashes[order.positionAt(bit)] = byBit[bit] as number;
      return hashes;
    },
  };
}

class LinkBuilder implements LinkColumn {
  readonly starts: Uint32Array;
  readonly ends: Uint32Array;
  links = new Int32Array(1 << 12);
  #count = 0;

  constructor(n: number) {
    this.starts = new Uint32Array(n);
    this.ends = new Uint32Array(n);
  }

  begin(bit: number): void {
    this.starts[bit] = this.#count;
  }

  add(link: number): void {
    if (this.#count === this.links.length) {
      const larger = new Int32Array(this.#count * 2);
      larger.set(this.links);
      this.links = larger;
    }
    this.links[this.#count++] = link;
  }

  end(bit: number): void {
    this.ends[bit] = this.#count;
  }
}

/** Where each object was met first: in which tree, under which name. By bit. */
class ObjectNames {
  /** Bit of the tree, plus 1; 0: in none. */
  readonly #trees: Uint32Array;
  readonly #hashes: Uint32Array;
  readonly #lengths: Uint8Array;

  constructor(n: number) {
    this.#trees = new Uint32Array(n);
    this.#hashes = new Uint32Array(n);
    this.#lengths = new Uint8Array(n);
  }

  note(bit: number, tree: number, bytes: Uint8Array, start: number, end: number): void {
    if (this.#trees[bit] !== 0) return;
    this.#trees[bit] = tree + 1;
    this.#hashes[bit] = extendNameHash(0, bytes, start, end);
    this.#lengths[bit] = Math.min(255, countedLength(bytes, start, end));
  }

  noteRoot(bit: number): void {
    this.#trees[bit] = 0;
    this.#hashes[bit] = 0;
    this.#lengths[bit] = 0;
  }

  finish(isNamed: (bit: number) => boolean): Uint32Array {
    const done = new Uint8Array(this.#trees.length);
    const chain: number[] = [];
    for (let first = 0; first < done.length; first++) {
      let bit = first;
      while (done[bit] === 0) {
        done[bit] = 1;
        const tree = this.#trees[bit] as number;
        if (tree === 0 || !isNamed(bit)) break;
        chain.push(bit);
        bit = tree - 1;
      }
      for (let at = chain.pop(); at !== undefined; at = chain.pop()) {
        const directory = this.#hashes[(this.#trees[at] as number) - 1] as number;
        this.#hashes[at] = joinNameHash(directory, this.#hashes[at] as number, this.#lengths[at] as number);
      }
    }
    return this.#hashes;
  }
}
