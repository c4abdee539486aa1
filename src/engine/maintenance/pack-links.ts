/**
 * What each object of one pack refers to, exactly and by rank, for walking it many times: a tree that is stored as a delta
 * is known by what it has more and less than its base. With it the hashes of the paths at which objects stand.
 */
import { GitwharfError } from "../../base/errors.js";
import { isPromise } from "../../base/maybe-promise.js";
import { forEachTreeEntry, MODE_GITLINK } from "../../object/tree.js";
import { countedLength, extendNameHash, joinNameHash } from "../../pack/name-hash.js";
import type { Pack } from "../../pack/pack.js";
import type { ObjectReader } from "../../storage/contracts/object-reader.js";
import { ObjectSpace } from "../fetch/object-space.js";
import { BLOB, COMMIT, LINKS_ADDED, LINKS_UNKNOWN, surveyPack, TREE } from "../fetch/pack-survey.js";
import type { WorkBudget } from "../fetch/work-budget.js";

/** A link to an object that is not in the pack. */
export const OUTSIDE = -1;

export interface PackLinks {
  readonly pack: Pack;
  /** 1..4; 0 when it is a delta upon what is not in the pack. */
  readonly types: Uint8Array;
  /** Ranks; negative when the object is stored whole. */
  readonly bases: Int32Array;
  readonly rankOfPosition: Uint32Array;
  /** True when `added` and `dropped` say how it differs from its base; false: `added` is all there is. */
  isRelative(rank: number): boolean;
  /** False: read the tree with `readTree`. */
  isKnown(rank: number): boolean;
  readonly added: LinkColumn;
  readonly dropped: LinkColumn;
  /** All links of a tree, by reading it. @throws object/corrupt, storage/io */
  readTree(rank: number): Promise<readonly number[]>;
  /** Git's name hash of each object, by position in the index. */
  nameHashes(): Uint32Array;
}

/** `links[starts[rank]]` to `links[ends[rank] - 1]`: ranks, or OUTSIDE. */
export interface LinkColumn {
  readonly starts: Uint32Array;
  readonly ends: Uint32Array;
  readonly links: Int32Array;
}

/** @param objects the pack alone. @throws object/corrupt, storage/io */
export async function linkPack(objects: ObjectReader, pack: Pack, budget: WorkBudget): Promise<PackLinks> {
  const space = new ObjectSpace(objects);
  const n = pack.objectCount;
  space.prepareForManyLookups();
  const names = new ObjectNames(n);
  const dropped = new DroppedLinks(n);
  const survey = await surveyPack(space, pack, budget, (rank, scratch) => {
    const { bytes } = scratch;
    for (let i = 0; i < scratch.foundCount; i++) {
      const oidAt = scratch.found[i] as number;
      const position = space.findPackedBytes(bytes, oidAt);
      if (position >= 0) names.note(position, rank, bytes, scratch.foundNames[i] as number, oidAt - 1);
    }
    dropped.begin(rank);
    for (let i = 0; i < scratch.droppedCount; i++)
      dropped.add(space.findPackedBytes(bytes, scratch.dropped[i] as number));
    dropped.end(rank);
  });
  const { types, bases, known, rankOfPosition } = survey;
  const toRanks = (links: Int32Array): void => {
    for (let i = 0; i < links.length; i++) {
      const position = links[i] as number;
      links[i] = position >= 0 && position < n ? (rankOfPosition[position] as number) : OUTSIDE;
    }
  };
  toRanks(survey.links);
  toRanks(dropped.links);
  return {
    pack,
    types,
    bases,
    rankOfPosition,
    isRelative: (rank) => known[rank] === LINKS_ADDED,
    isKnown: (rank) => known[rank] !== LINKS_UNKNOWN,
    added: { starts: survey.starts, ends: survey.ends, links: survey.links },
    dropped,
    async readTree(rank) {
      const read = pack.readObject(pack.offsets.positionAtRank(rank), (oid) => objects.read(oid));
      const { type, data } = isPromise(read) ? await read : read;
      const oid = pack.index.oidAt(pack.offsets.positionAtRank(rank));
      if (type !== "tree")
        throw new GitwharfError(
          "object/corrupt",
          `object ${oid} is a ${type}, not a tree; run 'gitwharf fsck'`,
        );
      const links: number[] = [];
      forEachTreeEntry(data, pack.objectFormat, (mode, nameStart, nameEnd, oidAt) => {
        if ((mode & 0o170000) === MODE_GITLINK) return;
        const position = pack.index.findBytes(data, oidAt);
        links.push(position < 0 ? OUTSIDE : (rankOfPosition[position] as number));
        if (position >= 0) names.note(position, rank, data, nameStart, nameEnd);
      });
      return links;
    },
    nameHashes() {
      const { starts, links } = survey;
      for (let rank = 0; rank < n; rank++) {
        // A commit's tree is its first link.
        const tree =
          types[rank] === COMMIT && known[rank] !== LINKS_UNKNOWN
            ? (links[starts[rank] as number] as number)
            : OUTSIDE;
        if (tree >= 0) names.noteRoot(pack.offsets.positionAtRank(tree));
      }
      return names.finish((position) => {
        const rank = rankOfPosition[position] as number;
        return types[rank] === TREE || types[rank] === BLOB;
      }, pack);
    },
  };
}

class DroppedLinks implements LinkColumn {
  readonly starts: Uint32Array;
  readonly ends: Uint32Array;
  links = new Int32Array(1 << 12);
  #count = 0;

  constructor(n: number) {
    this.starts = new Uint32Array(n);
    this.ends = new Uint32Array(n);
  }

  begin(rank: number): void {
    this.starts[rank] = this.#count;
  }

  add(position: number): void {
    if (this.#count === this.links.length) {
      const larger = new Int32Array(this.#count * 2);
      larger.set(this.links);
      this.links = larger;
    }
    this.links[this.#count++] = position;
  }

  end(rank: number): void {
    this.ends[rank] = this.#count;
  }
}

/** Where each object was met first: in which tree, under which name. By position in the index. */
class ObjectNames {
  /** Rank of the tree, plus 1; 0: in none. */
  readonly #trees: Uint32Array;
  readonly #hashes: Uint32Array;
  readonly #lengths: Uint8Array;

  constructor(n: number) {
    this.#trees = new Uint32Array(n);
    this.#hashes = new Uint32Array(n);
    this.#lengths = new Uint8Array(n);
  }

  note(position: number, treeRank: number, bytes: Uint8Array, start: number, end: number): void {
    if (this.#trees[position] !== 0) return;
    this.#trees[position] = treeRank + 1;
    this.#hashes[position] = extendNameHash(0, bytes, start, end);
    this.#lengths[position] = Math.min(255, countedLength(bytes, start, end));
  }

  noteRoot(position: number): void {
    this.#trees[position] = 0;
    this.#hashes[position] = 0;
    this.#lengths[position] = 0;
  }

  finish(isNamed: (position: number) => boolean, pack: Pack): Uint32Array {
    const done = new Uint8Array(this.#trees.length);
    const chain: number[] = [];
    for (let first = 0; first < done.length; first++) {
      let position = first;
      while (done[position] === 0) {
        done[position] = 1;
        const tree = this.#trees[position] as number;
        if (tree === 0 || !isNamed(position)) break;
        chain.push(position);
        position = pack.offsets.positionAtRank(tree - 1);
      }
      for (let at = chain.pop(); at !== undefined; at = chain.pop()) {
        const directory = this.#hashes[
          pack.offsets.positionAtRank((this.#trees[at] as number) - 1)
        ] as number;
        this.#hashes[at] = joinNameHash(directory, this.#hashes[at] as number, this.#lengths[at] as number);
      }
    }
    return this.#hashes;
  }
}
