/**
 * Makes the bitmap of one pack. The pack is read once, in its own order; then the chosen commits are taken parents first:
 * each begins with what the chosen commits behind it reach, and only the commits that none of them reaches are walked.
 */
import { GitwharfError, isGitwharfError } from "../../base/errors.js";
import { hashBytes } from "../../object/object-format.js";
import type { ObjectId } from "../../object/object-id.js";
import { type BitmapTypes, BitmapWriter } from "../../pack/bitmap-writer.js";
import { Bitset } from "../../pack/bitset.js";
import { type CommitColumns, orderParentsFirst } from "../../pack/commit-columns.js";
import type { Pack } from "../../pack/pack.js";
import type { ObjectReader } from "../../storage/contracts/object-reader.js";
import { BLOB, COMMIT, TAG, TREE } from "../fetch/pack-survey.js";
import type { WorkBudget } from "../fetch/work-budget.js";
import { chooseBitmapCommits } from "./choose-bitmap-commits.js";
import { gatherCommits } from "./gather-commits.js";
import { linkPack, type PackLinks } from "./pack-links.js";
import { RowHeap } from "./row-heap.js";
import { TreeReach } from "./tree-reach.js";

export type PackBitmapOutcome =
  | { readonly kind: "made"; readonly bytes: Uint8Array<SharedArrayBuffer>; readonly commitCount: number }
  /** It cannot have one: what a tip leads to is not all in it, or a delta stands before its base. Says why. */
  | { readonly kind: "impossible"; readonly why: string };

/**
 * @param objects the pack alone
 * @throws object/corrupt, storage/io
 */
export async function buildPackBitmap(
  objects: ObjectReader,
  tips: readonly ObjectId[],
  budget: WorkBudget,
): Promise<PackBitmapOutcome> {
  const pack = objects.packs[0] as Pack;
  try {
    const gathered = await gatherCommits(objects, tips, budget);
    if (gathered.commits.count === 0) return impossible("none of the commits asked for is in the pack");
    const links = await linkPack(objects, pack, budget);
    const crossed = links.bases.findIndex((base, rank) => base >= rank);
    if (crossed >= 0) return impossible("an entry stands before the one that it is a delta upon");
    if (links.types.includes(0))
      return impossible("an entry is a delta upon an object that is not in the pack");
    return await new Building(links, gathered.commits, budget).build(gathered.tips);
  } catch (error) {
    if (error instanceof NotClosed) return impossible(error.message);
    // A commit of the pack has a parent elsewhere.
    if (isGitwharfError(error, "object/corrupt") && error.details["absent"] === true)
      return impossible(error.message);
    throw error;
  }
}

function impossible(why: string): PackBitmapOutcome {
  return { kind: "impossible", why };
}

class NotClosed extends Error {}

class Building {
  readonly #links: PackLinks;
  readonly #commits: CommitColumns;
  readonly #budget: WorkBudget;
  readonly #writer: BitmapWriter;
  readonly #reach: TreeReach;
  readonly #order: Uint32Array;
  readonly #placeInOrder: Uint32Array;
  /** Number of the entry of each row in the writer, plus 1. */
  readonly #entries: Uint32Array;
  /** By row: the last chosen commit, plus 1, in whose walk it was met. */
  readonly #metFor: Uint32Array;

  constructor(links: PackLinks, commits: CommitColumns, budget: WorkBudget) {
    this.#links = links;
    this.#commits = commits;
    this.#budget = budget;
    this.#writer = new BitmapWriter(links.pack.index);
    this.#reach = new TreeReach(links, budget);
    this.#order = orderParentsFirst(commits);
    this.#placeInOrder = new Uint32Array(commits.count);
    for (const [place, row] of this.#order.entries()) this.#placeInOrder[row] = place;
    this.#entries = new Uint32Array(commits.count);
    this.#metFor = new Uint32Array(commits.count);
  }

  async build(tips: readonly number[]): Promise<PackBitmapOutcome> {
    for (const row of chooseBitmapCommits(this.#commits, this.#order, tips)) {
      const bits = new Bitset(Math.ceil(this.#links.pack.objectCount / 64) * 64);
      const near = await this.#fill(row, bits);
      const { openTree } = this.#reach;
      if (openTree !== undefined)
        throw new NotClosed(`tree ${this.#oidOfRank(openTree)} refers to an object that is not in the pack`);
      this.#entries[row] = this.#writer.add(this.#positionOf(this.#commits.oids, row), bits, near) + 1;
    }
    const bytes = this.#writer.finish(typesOf(this.#links), this.#links.nameHashes());
    return { kind: "made", bytes, commitCount: this.#writer.count };
  }

  /** @returns the entries that were made use of */
  async #fill(chosen: number, bits: Bitset): Promise<number[]> {
    const { parentStarts, parents } = this.#commits;
    const near: number[] = [];
    const walked: number[] = [];
    // Youngest first: what a chosen commit reaches is known before anything behind it is looked at.
    const queue = new RowHeap(this.#placeInOrder);
    const meet = (row: number): void => {
      if (this.#metFor[row] === chosen + 1) return;
      this.#metFor[row] = chosen + 1;
      queue.push(row);
    };
    meet(chosen);
    for (let row = queue.pop(); row >= 0; row = queue.pop()) {
      if (this.#budget.spend(0.2)) await this.#budget.pause();
      const rank = this.#rankOf(this.#commits.oids, row);
      if (bits.has(rank)) continue;
      const entry = this.#entries[row] as number;
      if (entry > 0) {
        this.#writer.orInto(bits, entry - 1);
        near.push(entry - 1);
        continue;
      }
      walked.push(row);
      bits.add(rank);
      for (let i = parentStarts[row] as number; i < (parentStarts[row + 1] as number); i++)
        meet(parents[i] as number);
    }
    for (const row of walked) await this.#reach.reach(this.#rankOf(this.#commits.trees, row), bits);
    return near;
  }

  #positionOf(ids: Uint8Array, row: number): number {
    const h = hashBytes(this.#commits.objectFormat);
    const position = this.#links.pack.index.findBytes(ids, row * h);
    if (position >= 0) return position;
    const oid = Buffer.from(ids.subarray(row * h, (row + 1) * h)).toString("hex");
    throw new NotClosed(`object ${oid}, which a commit names, is not in the pack`);
  }

  #rankOf(ids: Uint8Array, row: number): number {
    return this.#links.rankOfPosition[this.#positionOf(ids, row)] as number;
  }

  #oidOfRank(rank: number): ObjectId {
    const { pack } = this.#links;
    return pack.index.oidAt(pack.offsets.positionAtRank(rank));
  }
}

function typesOf({ types }: PackLinks): BitmapTypes {
  const size = Math.ceil(types.length / 64) * 64;
  const sets = {
    commit: new Bitset(size),
    tree: new Bitset(size),
    blob: new Bitset(size),
    tag: new Bitset(size),
  };
  for (let rank = 0; rank < types.length; rank++) {
    switch (types[rank]) {
      case COMMIT:
        sets.commit.add(rank);
        break;
      case TREE:
        sets.tree.add(rank);
        break;
      case BLOB:
        sets.blob.add(rank);
        break;
      case TAG:
        sets.tag.add(rank);
        break;
      default:
        throw new GitwharfError("base/invariant", "an entry of a pack has no type");
    }
  }
  return sets;
}
