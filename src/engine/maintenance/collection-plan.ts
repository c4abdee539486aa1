/**
 * What a collection of garbage makes of a repository's objects: which are in which of the new packs, and what bytes these are
 * made of. Stored entries are copied as they are, as for a clone (`fetch/plan-layout.ts`); no deltas are looked for.
 *
 *     base         what heads and tags lead to
 *     rest         what other refs lead to besides
 *     unreachable  what no ref leads to and is kept for a while: all that was not known to be that before, and what such
 *                  objects lead to, so that nothing that is kept lacks anything
 *
 * What stands in a pack that stays (one that is shared, or unreachable objects whose time has not come) is written no second
 * time, but for what is reachable and was taken for unreachable.
 */
import { isPromise } from "../../base/maybe-promise.js";
import { GitwharfError, isGitwharfError } from "../../base/errors.js";
import { parseCommitLinks } from "../../object/commit.js";
import { hashBytes } from "../../object/object-format.js";
import type { ObjectId } from "../../object/object-id.js";
import { parseTagLinks } from "../../object/tag.js";
import type { Pack } from "../../pack/pack.js";
import type { CollectedAs } from "../../storage/contracts/pack-maintenance.js";
import type { GitObject, ObjectReader } from "../../storage/contracts/object-reader.js";
import { OPEN_GATE } from "../fetch/filter-evaluation.js";
import { ObjectSpace } from "../fetch/object-space.js";
import { OrdinalSet } from "../fetch/ordinal-set.js";
import type { PlanData } from "../fetch/plan-data.js";
import { layOutPack } from "../fetch/plan-layout.js";
import { type ReachableSet, toReachableSet } from "../fetch/reachable-set.js";
import { TreeCursor } from "../fetch/tree-cursor.js";
import type { WorkBudget } from "../fetch/work-budget.js";
import { countObjects } from "../object-count.js";

/**
 * new: its unreachable objects are kept. expired: they are dropped, unless others that are kept lead to them. shared, waiting: the
 * pack stays; "waiting" holds unreachable objects.
 */
export type CollectedPack = "new" | "expired" | "shared" | "waiting";

export interface CollectionRequest {
  /** What heads and tags name. */
  readonly baseTips: readonly ObjectId[];
  readonly otherTips: readonly ObjectId[];
  /** Commits whose parents are absent. */
  readonly cutAt: readonly ObjectId[];
  /** By key, all of them. */
  readonly packs: ReadonlyMap<string, CollectedPack>;
  /** false: unreachable objects go at once. */
  readonly keepsUnreachable: boolean;
}

export interface CollectionPlan {
  /** Those that have objects. */
  readonly packs: readonly { readonly as: CollectedAs; readonly plan: PlanData }[];
  /** All that refs lead to. */
  readonly reached: ReachableSet;
  readonly reachedCount: number;
  readonly unreachableCount: number;
  readonly droppedCount: number;
}

/** @throws object/corrupt when something that a ref leads to is missing or damaged, storage/io */
export async function planCollection(
  objects: ObjectReader,
  request: CollectionRequest,
  budget: WorkBudget,
): Promise<CollectionPlan> {
  const space = new ObjectSpace(objects);
  space.prepareForManyLookups();
  const base = await reach(space, request.baseTips, request, budget);
  const other = await reach(space, request.otherTips, request, budget);
  const reached = union(space, base, other);
  const sorting = new Sorting(space, request, reached);
  const isForked = [...request.packs.values()].includes("shared");
  const inBase = isForked ? new OrdinalSet(0) : base;
  const rest = new OrdinalSet(space.packedCount);
  reached.forEach((ordinal) => {
    if (!inBase.has(ordinal) && !sorting.isShared(ordinal)) rest.add(ordinal);
  });
  const { kept, expired } = sorting.unreachable();
  const dropped = expired.size === 0 ? expired : await sorting.rescue(kept, expired, budget);
  const packs: { as: CollectedAs; plan: PlanData }[] = [];
  for (const [as, chosen] of [
    ["base", inBase],
    ["rest", rest],
    ["unreachable", kept],
  ] as const) {
    if (chosen.size === 0) continue;
    const selection = {
      space,
      chosen,
      uninteresting: new OrdinalSet(0),
      previous: new Map(),
      nameHashes: new Map(),
    };
    packs.push({ as, plan: await layOutPack(selection, { thinPack: false, ofsDelta: true, budget }) });
  }
  return {
    packs,
    reached: toReachableSet(space, reached, []),
    reachedCount: reached.size,
    unreachableCount: kept.size,
    droppedCount: dropped.size,
  };
}

async function reach(
  space: ObjectSpace,
  tips: readonly ObjectId[],
  { cutAt }: CollectionRequest,
  budget: WorkBudget,
): Promise<OrdinalSet> {
  if (tips.length === 0) return new OrdinalSet(0);
  const wants = [...new Set(tips)];
  try {
    const { chosen } = await countObjects({
      space,
      wants,
      haves: [],
      cutAt: new Set(cutAt),
      gate: OPEN_GATE,
      tagsToInclude: [],
      budget,
    });
    return chosen;
  } catch (error) {
    if (!isGitwharfError(error, "protocol/not-our-ref")) throw error;
    throw new GitwharfError(
      "object/corrupt",
      "an object that a ref names is missing: garbage is not collected; run 'gitwharf verify --deep'",
      { cause: error },
    );
  }
}

function union(space: ObjectSpace, one: OrdinalSet, other: OrdinalSet): OrdinalSet {
  const all = new OrdinalSet(space.packedCount);
  all.addWords(0, one.words);
  all.addWords(0, other.words);
  return all;
}

class Sorting {
  readonly #space: ObjectSpace;
  readonly #request: CollectionRequest;
  readonly #reached: OrdinalSet;
  readonly #shared: readonly Pack[];
  readonly #waiting: readonly Pack[];

  constructor(space: ObjectSpace, request: CollectionRequest, reached: OrdinalSet) {
    this.#space = space;
    this.#request = request;
    this.#reached = reached;
    this.#shared = this.#packs("shared");
    this.#waiting = this.#packs("waiting");
  }

  isShared(ordinal: number): boolean {
    return this.#isIn(this.#shared, ordinal);
  }

  unreachable(): { readonly kept: OrdinalSet; readonly expired: OrdinalSet } {
    const kept = new OrdinalSet(0);
    const expired = new OrdinalSet(0);
    const goes = this.#request.keepsUnreachable ? kept : expired;
    this.#eachUnreachable("new", (ordinal) => goes.add(ordinal));
    this.#eachUnreachable("expired", (ordinal) => {
      if (!kept.has(ordinal)) expired.add(ordinal);
    });
    return { kept, expired };
  }

  /** Adds to those that are kept what they and others that wait lead to. @returns the expired ones to which none of them does */
  async rescue(kept: OrdinalSet, expired: OrdinalSet, budget: WorkBudget): Promise<OrdinalSet> {
    const space = this.#space;
    const stack: number[] = [];
    kept.forEach((ordinal) => stack.push(ordinal));
    for (const pack of this.#waiting)
      for (let position = 0; position < pack.objectCount; position++)
        stack.push(space.ordinalOf(pack.index.oidAt(position)));
    for (let ordinal = stack.pop(); ordinal !== undefined; ordinal = stack.pop()) {
      if (budget.spend(1)) await budget.pause();
      const header = space.readHeader(ordinal);
      if ((isPromise(header) ? await header : header).type === "blob") continue;
      const read = space.read(ordinal);
      this.#links(isPromise(read) ? await read : read, (link) => {
        if (!expired.delete(link)) return;
        kept.add(link);
        stack.push(link);
      });
    }
    return expired;
  }

  /** Those that are packed: what is pushed without a ref may lack anything. */
  #links({ type, data }: GitObject, visit: (ordinal: number) => void): void {
    const space = this.#space;
    const meet = (oid: ObjectId): void => {
      const ordinal = space.find(oid);
      if (ordinal >= 0) visit(ordinal);
    };
    if (type === "commit") {
      const { tree, parents } = parseCommitLinks(data, space.objectFormat);
      meet(tree);
      parents.forEach(meet);
    } else if (type === "tag") meet(parseTagLinks(data, space.objectFormat).target);
    else if (type === "tree") {
      const cursor = new TreeCursor(data, hashBytes(space.objectFormat));
      while (cursor.next()) {
        const ordinal = cursor.isGitlink ? -1 : space.findPackedBytes(data, cursor.oidAt);
        if (ordinal >= 0) visit(ordinal);
      }
    }
  }

  #eachUnreachable(of: CollectedPack, visit: (ordinal: number) => void): void {
    const space = this.#space;
    const id = Buffer.alloc(hashBytes(space.objectFormat));
    for (const { index } of this.#packs(of)) {
      for (let position = 0; position < index.objectCount; position++) {
        index.copyOid(position, id, 0);
        const ordinal = space.findPackedBytes(id, 0);
        if (this.#reached.has(ordinal)) continue;
        const stays = (pack: Pack): boolean => pack.index.findBytes(id, 0) >= 0;
        if (!this.#shared.some(stays) && !this.#waiting.some(stays)) visit(ordinal);
      }
    }
  }

  #packs(of: CollectedPack): readonly Pack[] {
    return this.#space.packs.filter(({ key }) => this.#request.packs.get(key) === of);
  }

  #isIn(packs: readonly Pack[], ordinal: number): boolean {
    if (packs.length === 0) return false;
    const oid = this.#space.oidOf(ordinal);
    return packs.some(({ index }) => index.find(oid) >= 0);
  }
}
