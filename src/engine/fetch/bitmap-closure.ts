/**
 * What some commits lead to, by the reachability bitmaps that stand beside a pack or a multi-pack-index: a walk back to
 * commits that have one, and the union of those.
 */
import { GitwharfError } from "../../base/errors.js";
import { isPromise } from "../../base/maybe-promise.js";
import type { ObjectId } from "../../object/object-id.js";
import type { PackBitmap } from "../../pack/bitmap.js";
import { Bitset } from "../../pack/bitset.js";
import type { WalkedCommit } from "../revision-walk.js";
import { type BitOrder, ManyPacksBitOrder, PackBitOrder } from "./bit-order.js";
import { hasLargePack } from "./closure.js";
import { CommitQueue } from "./commit-queue.js";
import type { CommitLinks, CommitReader } from "./commit-reader.js";
import type { GrownSet } from "./grow-seed.js";
import type { ObjectSpace } from "./object-space.js";
import { OrdinalSet } from "./ordinal-set.js";
import { BLOB, COMMIT, TAG, TREE } from "./pack-survey.js";
import type { WorkBudget } from "./work-budget.js";

export interface BitmapClosureOptions {
  readonly space: ObjectSpace;
  readonly bitmap: SpaceBitmap;
  readonly commits: readonly ObjectId[];
  readonly reader: CommitReader;
  readonly budget: WorkBudget;
}

/** Commits without a bitmap on the way to those that have one; with more the bitmaps are too old to be a help. */
const WALKED_COMMITS_MAX = 5000;

/** Bitmaps, and what their bits stand for in a space. */
export interface SpaceBitmap {
  readonly bitmap: PackBitmap;
  readonly order: BitOrder;
}

/** Objects of a multi-pack-index whose order is found in a unit of work. */
const ORDERED_OBJECTS_A_UNIT = 50;
/** Bitmaps of fewer objects in many packs spare nothing. */
const MANY_PACKS_OBJECTS_MIN = 2000;

/** Those of a multi-pack-index, where it has some, as git has it; else those of the largest pack. */
export async function openBitmap(space: ObjectSpace, budget: WorkBudget): Promise<SpaceBitmap | undefined> {
  const bitmapped = await space.objects.openMultiPackBitmap?.();
  if (bitmapped !== undefined && bitmapped.index.objectCount >= MANY_PACKS_OBJECTS_MIN) {
    if (budget.spend(bitmapped.index.objectCount / ORDERED_OBJECTS_A_UNIT)) await budget.pause();
    const order = ManyPacksBitOrder.of(space, bitmapped.index, bitmapped.packs);
    if (order !== undefined) return { bitmap: bitmapped.bitmap, order };
  }
  const pack = space.packs[0];
  if (pack === undefined || !hasLargePack(space)) return undefined;
  const bitmap = await pack.openBitmap();
  return bitmap === undefined ? undefined : { bitmap, order: new PackBitOrder(pack) };
}

class BareCommit implements WalkedCommit {
  readonly oid: ObjectId;
  readonly uninteresting = false;
  readonly generation: number;
  readonly dateSeconds: number;
  readonly tree: ObjectId;
  readonly parentOids: readonly ObjectId[];
  readonly parents: BareCommit[] = [];
  constructor(oid: ObjectId, links: CommitLinks) {
    this.oid = oid;
    this.tree = links.tree;
    this.dateSeconds = links.dateSeconds;
    this.generation = links.generation;
    this.parentOids = links.parents;
  }
}

/**
 * What the bitmaps cover, and the commits that they do not. Cut-off histories are not for this.
 * @throws object/corrupt
 */
export async function closeOverBitmap(options: BitmapClosureOptions): Promise<GrownSet | undefined> {
  const { space, reader, budget } = options;
  const { bitmap, order } = options.bitmap;
  const bits = new Bitset(bitmap.objectCount);
  const known = new Map<ObjectId, number>();
  const isCovered = (oid: ObjectId): boolean => {
    let bit = known.get(oid);
    if (bit === undefined) {
      bit = order.bitOf(oid);
      known.set(oid, bit);
    }
    return bit >= 0 && bits.has(bit);
  };
  const nodes = new Map<ObjectId, BareCommit>();
  const walked: BareCommit[] = [];
  // Newest first: a bitmap that is met covers what would otherwise be walked behind it.
  const queue = new CommitQueue<BareCommit>();
  const meet = async (oid: ObjectId): Promise<BareCommit> => {
    let node = nodes.get(oid);
    if (node === undefined) {
      if (budget.spend(1)) await budget.pause();
      const read = reader.read(oid);
      const links = isPromise(read) ? await read : read;
      if (links === undefined) {
        throw new GitwharfError(
          "object/corrupt",
          `commit ${oid} is missing from the repository; run 'gitwharf fsck'`,
        );
      }
      node = new BareCommit(oid, links);
      nodes.set(oid, node);
      if (!isCovered(oid)) queue.push(node);
    }
    return node;
  };
  // Commits with a bitmap of their own first: what they cover need not be walked.
  for (const oid of options.commits) {
    if (budget.spend(1)) await budget.pause();
    const own = isCovered(oid) ? undefined : bitmap.bitmapOf(oid);
    if (own !== undefined) bits.or(own);
  }
  for (const oid of options.commits) if (!isCovered(oid)) await meet(oid);
  for (let node = queue.pop(); node !== undefined; node = queue.pop()) {
    if (isCovered(node.oid)) continue;
    const own = bitmap.bitmapOf(node.oid);
    if (own !== undefined) {
      bits.or(own);
      continue;
    }
    if (walked.push(node) > WALKED_COMMITS_MAX) return undefined;
    for (const parent of node.parentOids) node.parents.push(await meet(parent));
  }
  const reached = new OrdinalSet(space.packedCount);
  bits.forEach((bit) => {
    if (bit < bitmap.objectCount) reached.add(order.ordinalAt(bit));
  });
  return { reached, commits: walked.filter((node) => !isCovered(node.oid)) };
}

/** Types of the objects that the bitmaps know; 0 for others. */
export function typesOfBitmap({ bitmap: { types }, order }: SpaceBitmap): (ordinal: number) => number {
  return (ordinal) => {
    const bit = order.bitAt(ordinal);
    if (bit < 0) return 0;
    if (types.blob.has(bit)) return BLOB;
    if (types.tree.has(bit)) return TREE;
    if (types.commit.has(bit)) return COMMIT;
    return types.tag.has(bit) ? TAG : 0;
  };
}
