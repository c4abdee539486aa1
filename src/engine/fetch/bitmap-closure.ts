/**
 * What some commits lead to, by the reachability bitmaps that git writes beside a pack: a walk back to commits that
 * have one, and the union of those.
 */
import { GitwharfError } from "../../base/errors.js";
import { isPromise } from "../../base/maybe-promise.js";
import type { ObjectId } from "../../object/object-id.js";
import type { PackBitmap } from "../../pack/bitmap.js";
import { Bitset } from "../../pack/bitset.js";
import type { Pack } from "../../pack/pack.js";
import type { WalkedCommit } from "../revision-walk.js";
import { CommitQueue } from "./commit-queue.js";
import type { CommitLinks, CommitReader } from "./commit-reader.js";
import type { GrownSet } from "./grow-seed.js";
import type { ObjectSpace } from "./object-space.js";
import { OrdinalSet } from "./ordinal-set.js";
import { BLOB, COMMIT, TAG, TREE } from "./pack-survey.js";
import type { WorkBudget } from "./work-budget.js";

export interface BitmapClosureOptions {
  readonly space: ObjectSpace;
  readonly bitmap: PackBitmap;
  readonly commits: readonly ObjectId[];
  readonly reader: CommitReader;
  readonly budget: WorkBudget;
}

/** Commits without a bitmap on the way to those that have one; with more the bitmaps are too old to be a help. */
const WALKED_COMMITS_MAX = 5000;

/** The bitmaps of the largest pack, where it has some. */
export async function openBitmap(space: ObjectSpace): Promise<PackBitmap | undefined> {
  return space.packs[0]?.openBitmap();
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
  const { space, bitmap, reader, budget } = options;
  const pack = space.packs[0] as Pack;
  const bits = new Bitset(pack.index.objectCount);
  const ranks = new Map<ObjectId, number>();
  const isCovered = (oid: ObjectId): boolean => {
    let rank = ranks.get(oid);
    if (rank === undefined) {
      const position = pack.index.find(oid);
      rank = position < 0 ? -1 : pack.offsets.rankOfOffset(pack.index.offsetAt(position));
      ranks.set(oid, rank);
    }
    return rank >= 0 && bits.has(rank);
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
  // The largest pack's ordinals are its positions.
  bits.forEach((rank) => {
    if (rank < pack.index.objectCount) reached.add(pack.offsets.positionAtRank(rank));
  });
  return { reached, commits: walked.filter((node) => !isCovered(node.oid)) };
}

/** Types of objects of the largest pack; 0 for others. */
export function typesOfBitmap(space: ObjectSpace, { types }: PackBitmap): (ordinal: number) => number {
  const { index, offsets } = space.packs[0] as Pack;
  return (ordinal) => {
    if (ordinal >= index.objectCount) return 0;
    const rank = offsets.rankOfOffset(index.offsetAt(ordinal));
    if (types.blob.has(rank)) return BLOB;
    if (types.tree.has(rank)) return TREE;
    if (types.commit.has(rank)) return COMMIT;
    return types.tag.has(rank) ? TAG : 0;
  };
}
