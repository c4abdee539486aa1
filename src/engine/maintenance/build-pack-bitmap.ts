/**
 * Makes the bitmaps of one pack, or of all packs behind a multi-pack-index. Each pack is read once, in its own order; then the
 * chosen commits are taken parents first: each begins with what the chosen commits behind it reach, and only the commits that
 * none of them reaches are walked.
 */
import { GitwharfError, isGitwharfError } from "../../base/errors.js";
import { hashBytes } from "../../object/object-format.js";
import type { ObjectId } from "../../object/object-id.js";
import { type BitmapTypes, BitmapWriter } from "../../pack/bitmap-writer.js";
import { Bitset } from "../../pack/bitset.js";
import { type CommitColumns, orderParentsFirst } from "../../pack/commit-columns.js";
import type { MultiPackIndex } from "../../pack/multi-pack-index.js";
import type { Pack } from "../../pack/pack.js";
import type { ObjectReader } from "../../storage/contracts/object-reader.js";
import { ManyPacksBitOrder, PackBitOrder } from "../fetch/bit-order.js";
import { ObjectSpace } from "../fetch/object-space.js";
import { BLOB, COMMIT, TAG, TREE } from "../fetch/pack-survey.js";
import type { WorkBudget } from "../fetch/work-budget.js";
import { chooseBitmapCommits } from "./choose-bitmap-commits.js";
import { gatherCommits } from "./gather-commits.js";
import { linkPacks, type PackLinks } from "./pack-links.js";
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
  const order = new PackBitOrder(objects.packs[0] as Pack, { manyLookups: true });
  return build(objects, tips, budget, async (space) => {
    const links = await linkPacks(space, order, budget);
    // Who finds a bitmap beside a pack may send the pack as it is.
    const crossed = links.bases.findIndex((base, rank) => base >= rank);
    if (crossed >= 0) throw new NoBitmap("an entry stands before the one that it is a delta upon");
    return links;
  });
}

/**
 * @param objects the packs of the index alone
 * @throws object/corrupt, storage/io
 */
export async function buildMultiPackBitmap(
  objects: ObjectReader,
  index: MultiPackIndex,
  tips: readonly ObjectId[],
  budget: WorkBudget,
): Promise<PackBitmapOutcome> {
  return build(objects, tips, budget, (space) => {
    const byName = new Map(objects.packs.map((pack) => [pack.name, pack]));
    const packs = index.packNames.flatMap((name) => byName.get(name) ?? []);
    const order = ManyPacksBitOrder.of(space, index, packs);
    if (order === undefined)
      throw new GitwharfError("base/invariant", "a multi-pack-index does not fit its packs");
    return linkPacks(space, order, budget);
  });
}

async function build(
  objects: ObjectReader,
  tips: readonly ObjectId[],
  budget: WorkBudget,
  link: (space: ObjectSpace) => Promise<PackLinks>,
): Promise<PackBitmapOutcome> {
  try {
    const gathered = await gatherCommits(objects, tips, budget);
    if (gathered.commits.count === 0) return impossible("none of the commits asked for is in the packs");
    const links = await link(new ObjectSpace(objects));
    if (links.types.includes(0))
      return impossible("an entry is a delta upon an object that is not in its pack");
    return await new Building(links, gathered.commits, budget).build(gathered.tips);
  } catch (error) {
    if (error instanceof NoBitmap) return impossible(error.message);
    // A commit of the packs has a parent elsewhere.
    if (isGitwharfError(error, "object/corrupt") && error.details["absent"] === true)
      return impossible(error.message);
    throw error;
  }
}

function impossible(why: string): PackBitmapOutcome {
  return { kind: "impossible", why };
}

class NoBitmap extends Error {}

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
    this.#writer = new BitmapWriter(links.order.index);
    this.#reach = new TreeReach(links, budget);
    this.#order = orderParentsFirst(commits);
    this.#placeInOrder = new Uint32Array(commits.count);
    for (const [place, row] of this.#order.entries()) this.#placeInOrder[row] = place;
    this.#entries = new Uint32Array(commits.count);
    this.#metFor = new Uint32Array(commits.count);
  }

  async build(tips: readonly number[]): Promise<PackBitmapOutcome> {
    for (const row of chooseBitmapCommits(this.#commits, this.#order, tips)) {
      const bits = new Bitset(Math.ceil(this.#links.types.length / 64) * 64);
      const near = await this.#fill(row, bits);
      const { openTree } = this.#reach;
      if (openTree !== undefined)
        throw new NoBitmap(`tree ${this.#oidOfBit(openTree)} refers to an object that is not in the packs`);
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
      const bit = this.#bitOf(this.#commits.oids, row);
      if (bits.has(bit)) continue;
      const entry = this.#entries[row] as number;
      if (entry > 0) {
        this.#writer.orInto(bits, entry - 1);
        near.push(entry - 1);
        continue;
      }
      walked.push(row);
      bits.add(bit);
      for (let i = parentStarts[row] as number; i < (parentStarts[row + 1] as number); i++)
        meet(parents[i] as number);
    }
    for (const row of walked) await this.#reach.reach(this.#bitOf(this.#commits.trees, row), bits);
    return near;
  }

  #positionOf(ids: Uint8Array, row: number): number {
    const h = hashBytes(this.#commits.objectFormat);
    const position = this.#links.order.index.findBytes(ids, row * h);
    if (position >= 0) return position;
    const oid = Buffer.from(ids.subarray(row * h, (row + 1) * h)).toString("hex");
    throw new NoBitmap(`object ${oid}, which a commit names, is not in the packs`);
  }

  #bitOf(ids: Uint8Array, row: number): number {
    return this.#links.order.bitOfPosition(this.#positionOf(ids, row));
  }

  #oidOfBit(bit: number): ObjectId {
    const { order } = this.#links;
    return order.index.oidAt(order.positionAt(bit));
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
  for (let bit = 0; bit < types.length; bit++) {
    switch (types[bit]) {
      case COMMIT:
        sets.commit.add(bit);
        break;
      case TREE:
        sets.tree.add(bit);
        break;
      case BLOB:
        sets.blob.add(bit);
        break;
      case TAG:
        sets.tag.add(bit);
        break;
      default:
        throw new GitwharfError("base/invariant", "an object of a pack has no type");
    }
  }
  return sets;
}
