/**
 * What becomes of a repository's objects in a sweep: which are in which of two new packs, what bytes these are made of, and which go.
 * Stored entries are copied as they are, as in a fold (`fold-plan.ts`) or, where a base does not come along or objects are loose, as for a
 * clone (`fetch/plan-layout.ts`); no deltas are looked for but among loose objects.
 *
 *     needed     what refs, reflogs, work trees and the like lead to
 *     unneeded   all else, with the time when that was found; what was found too long ago goes, unless something that is younger,
 *                or stands in a pack that is not touched, leads to it
 *
 * Only what stands in packs that may go, or loose, is sorted. Specification: gitformat-pack ("Cruft packs"), git-gc.
 */
import { isPromise } from "../../base/maybe-promise.js";
import { GitwharfError, isGitwharfError } from "../../base/errors.js";
import { parseCommitLinks } from "../../object/commit.js";
import { hashBytes } from "../../object/object-format.js";
import { hashObject, type ObjectId, objectIdAt } from "../../object/object-id.js";
import { parseTagLinks } from "../../object/tag.js";
import type { Pack } from "../../pack/pack.js";
import { sortOids } from "../../pack/pack-index-writer.js";
import type { GitObject, ObjectReader } from "../../storage/contracts/object-reader.js";
import { collectClosure } from "../fetch/closure.js";
import { ObjectSpace } from "../fetch/object-space.js";
import { OrdinalSet } from "../fetch/ordinal-set.js";
import type { PlanData } from "../fetch/plan-data.js";
import { type FoldMembers, type FoldPlan, planFold } from "./fold-plan.js";
import { layOutPack } from "../fetch/plan-layout.js";
import { type ReachableSet, toReachableSet } from "../fetch/reachable-set.js";
import { TreeCursor } from "../fetch/tree-cursor.js";
import type { WorkBudget } from "../fetch/work-budget.js";

export interface SweepRequest {
  /** What refs name: it must all be there. */
  readonly tips: readonly ObjectId[];
  /** What else leads to objects: what of it is missing is passed over. */
  readonly roots: readonly ObjectId[];
  /** Files in which ids stand as bytes, anywhere. */
  readonly rawRoots: readonly Uint8Array[];
  /** Commits whose parents are absent. */
  readonly cutAt: readonly ObjectId[];
  /** Packs that may go, by key, with the times of one of unreachable objects. */
  readonly packs: ReadonlyMap<string, Uint32Array | undefined>;
  /** Keys of the repository's other packs: what they hold stays, and what that leads to. */
  readonly held: ReadonlySet<string>;
  readonly loose: readonly ObjectId[];
  readonly nowSeconds: number;
  /** Unreachable objects that were found to be that then or before go. −Infinity: none do. */
  readonly expireSeconds: number;
}

export interface PlannedPack {
  readonly objectCount: number;
  /** Raw ids in order. */
  readonly ids: Uint8Array;
  readonly made: PlannedBytes;
}

export type PlannedBytes =
  /** A pack that stands there is that, by its key. */
  | { readonly of: "pack"; readonly key: string }
  /** Stored entries alone. Packs by number of the plan. */
  | { readonly of: "entries"; readonly plan: FoldPlan; readonly packKeys: readonly string[] }
  | { readonly of: "anything"; readonly plan: PlanData };

export interface SweepPlan {
  readonly needed: PlannedPack | undefined;
  readonly unneeded: (PlannedPack & { readonly mtimes: Uint32Array }) | undefined;
  /** All that was reached, and all that goes. */
  readonly reached: ReachableSet;
  readonly dropped: ReachableSet;
  readonly reachedCount: number;
  readonly droppedCount: number;
  /** Loose objects that cannot be read and that nothing leads to: they stay as they are. */
  readonly unreadable: readonly ObjectId[];
}

/** @throws object/corrupt when something that a ref leads to is missing or damaged, storage/io */
export async function planSweep(
  objects: ObjectReader,
  request: SweepRequest,
  budget: WorkBudget,
): Promise<SweepPlan> {
  const space = new ObjectSpace(objects);
  space.prepareForManyLookups();
  const loose = request.loose.map((oid) => space.ordinalOf(oid));
  const reached = await reachStrictly(space, request, budget);
  const walk = new TolerantWalk(space, request.cutAt, budget);
  const roots = [...request.roots.map((oid) => space.ordinalOf(oid)), ...findRaw(space, request)];
  await walk.run(roots, (ordinal) => reached.add(ordinal));
  const sorting = new Sorting(space, request, reached);
  const unreadable = await sorting.checkLoose(loose, budget);
  sorting.sort(loose.filter((ordinal) => !unreadable.has(ordinal)));
  if (sorting.dropped.size > 0) await sorting.rescue(walk);
  const { needed, unneeded, dropped } = sorting;
  const maker = new PackMaker(space, request, budget);
  return {
    needed: planned(await maker.make(needed)),
    unneeded: withTimes(await maker.make(unneeded), sorting),
    reached: toReachableSet(space, reached, []),
    dropped: toReachableSet(space, dropped, []),
    reachedCount: reached.size,
    droppedCount: dropped.size,
    unreadable: [...unreadable].map((ordinal) => space.oidOf(ordinal)),
  };
}

/** By the objects alone: neither a bitmap nor a commit-graph is asked, so that what is wrong in them costs nothing. */
async function reachStrictly(
  space: ObjectSpace,
  { tips, cutAt }: SweepRequest,
  budget: WorkBudget,
): Promise<OrdinalSet> {
  if (tips.length === 0) return new OrdinalSet(space.packedCount);
  try {
    return (await collectClosure({ space, roots: tips, cutAt: new Set(cutAt), budget })).reached;
  } catch (error) {
    if (!isGitwharfError(error, "object/corrupt", "object/malformed")) throw error;
    throw new GitwharfError("object/corrupt", `nothing is removed: ${error.message}`, { cause: error });
  }
}

/** Ordinals of ids that stand anywhere in the bytes: the format of an index has many versions, an id has one. */
function findRaw(space: ObjectSpace, { rawRoots, loose }: SweepRequest): number[] {
  if (rawRoots.length === 0) return [];
  const h = hashBytes(space.objectFormat);
  const looseByHead = new Map<number, ObjectId[]>();
  for (const oid of loose) {
    const head = Number.parseInt(oid.slice(0, 8), 16);
    const others = looseByHead.get(head);
    if (others === undefined) looseByHead.set(head, [oid]);
    else others.push(oid);
  }
  const found = new Set<number>();
  for (const raw of rawRoots) {
    const bytes = Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength);
    for (let at = 0; at + h <= bytes.length; at++) {
      const ordinal = space.findPackedBytes(bytes, at);
      if (ordinal >= 0) found.add(ordinal);
      else if (looseByHead.size > 0) {
        const oids = looseByHead.get(bytes.readUInt32BE(at));
        if (oids === undefined) continue;
        const oid = objectIdAt(bytes, at, space.objectFormat);
        if (oids.includes(oid)) found.add(space.find(oid));
      }
    }
  }
  return [...found];
}

class Sorting {
  readonly needed: OrdinalSet;
  readonly unneeded: OrdinalSet;
  readonly dropped: OrdinalSet;
  readonly #space: ObjectSpace;
  readonly #request: SweepRequest;
  readonly #reached: OrdinalSet;
  /** Of what is in packs of unreachable objects alone: when that was found. */
  readonly #times = new Map<number, number>();

  constructor(space: ObjectSpace, request: SweepRequest, reached: OrdinalSet) {
    this.#space = space;
    this.#request = request;
    this.#reached = reached;
    this.needed = new OrdinalSet(space.packedCount);
    this.unneeded = new OrdinalSet(0);
    this.dropped = new OrdinalSet(0);
  }

  /** @returns those that cannot be read and are not needed. @throws object/corrupt when one that is needed cannot */
  async checkLoose(loose: readonly number[], budget: WorkBudget): Promise<ReadonlySet<number>> {
    const space = this.#space;
    const unreadable = new Set<number>();
    for (const ordinal of loose) {
      if (budget.spend(5)) await budget.pause();
      // The copy in a pack is the one that is taken.
      if (ordinal < space.packedCount) continue;
      try {
        const read = space.read(ordinal);
        const { type, data } = isPromise(read) ? await read : read;
        if (hashObject(space.objectFormat, type, data) === space.oidOf(ordinal)) continue;
      } catch (error) {
        if (!isGitwharfError(error, "object/corrupt", "storage/io")) throw error;
      }
      if (this.#reached.has(ordinal))
        throw new GitwharfError(
          "object/corrupt",
          `the loose object ${space.oidOf(ordinal)} is damaged: nothing is removed; run 'gitwharf fsck'`,
        );
      unreadable.add(ordinal);
    }
    return unreadable;
  }

  sort(loose: readonly number[]): void {
    const { expireSeconds } = this.#request;
    const found = new OrdinalSet(this.#space.packedCount);
    /** Somebody has written it since it was known to be unreachable, or it was not known. */
    const anew = new OrdinalSet(this.#space.packedCount);
    const meet = (ordinal: number): void => {
      if (this.#reached.has(ordinal)) this.needed.add(ordinal);
      else found.add(ordinal);
    };
    for (const ordinal of loose) {
      meet(ordinal);
      anew.add(ordinal);
    }
    this.#eachPacked((ordinal, seconds) => {
      meet(ordinal);
      if (seconds === undefined) anew.add(ordinal);
    });
    this.#eachPacked((ordinal, seconds) => {
      if (seconds === undefined || anew.has(ordinal) || !found.has(ordinal)) return;
      this.#times.set(ordinal, Math.max(seconds, this.#times.get(ordinal) ?? 0));
    });
    found.forEach((ordinal) => {
      (this.timeOf(ordinal) <= expireSeconds ? this.dropped : this.unneeded).add(ordinal);
    });
  }

  /** A time that has not come yet counts as now. */
  timeOf(ordinal: number): number {
    const { nowSeconds } = this.#request;
    return Math.min(this.#times.get(ordinal) ?? nowSeconds, nowSeconds);
  }

  /** Keeps what something that stays leads to, with the time that it has. */
  async rescue(walk: TolerantWalk): Promise<void> {
    const from: number[] = [];
    this.unneeded.forEach((ordinal) => from.push(ordinal));
    for (const { key, index } of this.#space.packs) {
      if (!this.#request.held.has(key)) continue;
      for (let position = 0; position < index.objectCount; position++)
        from.push(this.#space.ordinalOf(index.oidAt(position)));
    }
    const seen = new OrdinalSet(this.#space.packedCount);
    await walk.run(from, (ordinal) => {
      // All that a needed one leads to is needed.
      if (this.#reached.has(ordinal) || !seen.add(ordinal)) return false;
      if (this.dropped.delete(ordinal)) this.unneeded.add(ordinal);
      return true;
    });
  }

  #eachPacked(visit: (ordinal: number, seconds: number | undefined) => void): void {
    const space = this.#space;
    const id = Buffer.alloc(hashBytes(space.objectFormat));
    for (const pack of space.packs) {
      if (!this.#request.packs.has(pack.key)) continue;
      const seconds = this.#request.packs.get(pack.key);
      for (let position = 0; position < pack.objectCount; position++) {
        pack.index.copyOid(position, id, 0);
        visit(space.findPackedBytes(id, 0), seconds?.[position]);
      }
    }
  }
}

/** Follows links as far as there is something at their end. */
class TolerantWalk {
  readonly #space: ObjectSpace;
  readonly #cut: ReadonlySet<ObjectId>;
  readonly #budget: WorkBudget;

  constructor(space: ObjectSpace, cutAt: readonly ObjectId[], budget: WorkBudget) {
    this.#space = space;
    this.#cut = new Set(cutAt);
    this.#budget = budget;
  }

  /** @param visit whether it is to be looked into; asked of those that it begins with as well. @throws storage/io */
  async run(from: Iterable<number>, visit: (ordinal: number) => boolean): Promise<void> {
    const stack: number[] = [];
    const meet = (ordinal: number): void => {
      if (visit(ordinal)) stack.push(ordinal);
    };
    for (const first of from) {
      meet(first);
      for (let ordinal = stack.pop(); ordinal !== undefined; ordinal = stack.pop()) {
        if (this.#budget.spend(1)) await this.#budget.pause();
        const object = await this.#read(ordinal);
        if (object !== undefined) this.#links(ordinal, object, meet);
      }
    }
  }

  /** undefined: it leads nowhere, or cannot be read. */
  async #read(ordinal: number): Promise<GitObject | undefined> {
    const space = this.#space;
    try {
      const header = space.readHeader(ordinal);
      if ((isPromise(header) ? await header : header).type === "blob") return undefined;
      const read = space.read(ordinal);
      return isPromise(read) ? await read : read;
    } catch (error) {
      if (!isGitwharfError(error, "object/corrupt")) throw error;
      return undefined;
    }
  }

  #links(ordinal: number, { type, data }: GitObject, meet: (ordinal: number) => void): void {
    const space = this.#space;
    try {
      if (type === "commit") {
        const { tree, parents } = parseCommitLinks(data, space.objectFormat);
        meet(space.ordinalOf(tree));
        if (this.#cut.size > 0 && this.#cut.has(space.oidOf(ordinal))) return;
        for (const parent of parents) meet(space.ordinalOf(parent));
      } else if (type === "tag") meet(space.ordinalOf(parseTagLinks(data, space.objectFormat).target));
      else if (type === "tree") {
        const cursor = new TreeCursor(data, hashBytes(space.objectFormat));
        while (cursor.next()) if (!cursor.isGitlink) meet(space.ordinalOfBytes(data, cursor.oidAt));
      }
    } catch (error) {
      if (!isGitwharfError(error, "object/malformed", "object/corrupt")) throw error;
    }
  }
}

class PackMaker {
  readonly #space: ObjectSpace;
  readonly #request: SweepRequest;
  readonly #budget: WorkBudget;

  constructor(space: ObjectSpace, request: SweepRequest, budget: WorkBudget) {
    this.#space = space;
    this.#request = request;
    this.#budget = budget;
  }

  /** undefined: there are none. */
  async make(chosen: OrdinalSet): Promise<MadePack | undefined> {
    if (chosen.size === 0) return undefined;
    return { ...this.#sort(chosen), objectCount: chosen.size, made: await this.#bytesOf(chosen) };
  }

  async #bytesOf(chosen: OrdinalSet): Promise<PlannedBytes> {
    const space = this.#space;
    const packs = space.packs.filter(({ key }) => this.#request.packs.has(key));
    const same = packs.find((pack) => pack.objectCount === chosen.size && this.#holdsOnly(pack, chosen));
    if (same !== undefined) return { of: "pack", key: same.key };
    const isLoose = chosen.countBetween(space.packedCount, space.size) > 0;
    const copied = isLoose ? undefined : this.#copy(packs, chosen);
    if (copied !== undefined) return copied;
    const selection = {
      space,
      chosen,
      uninteresting: new OrdinalSet(0),
      previous: new Map(),
      nameHashes: new Map(),
    };
    const options = { thinPack: false, ofsDelta: true, budget: this.#budget };
    return { of: "anything", plan: await layOutPack(selection, options) };
  }

  /** undefined: a base is not among them. */
  #copy(packs: readonly Pack[], chosen: OrdinalSet): PlannedBytes | undefined {
    const members = packs.map((pack) => this.#positions(pack, chosen));
    const isMember: FoldMembers = (k, position) => members[k]?.has(position) === true;
    const plan = planFold(packs, this.#space.objectFormat, isMember);
    // (An object may stand in a pack that does not go, and be loose as well.)
    if (plan === undefined || plan.objectCount !== chosen.size) return undefined;
    return { of: "entries", plan, packKeys: packs.map(({ key }) => key) };
  }

  #holdsOnly(pack: Pack, chosen: OrdinalSet): boolean {
    return this.#positions(pack, chosen).size === pack.objectCount;
  }

  #positions({ index }: Pack, chosen: OrdinalSet): OrdinalSet {
    const id = Buffer.alloc(hashBytes(this.#space.objectFormat));
    const positions = new OrdinalSet(index.objectCount);
    for (let position = 0; position < index.objectCount; position++) {
      index.copyOid(position, id, 0);
      if (chosen.has(this.#space.findPackedBytes(id, 0))) positions.add(position);
    }
    return positions;
  }

  #sort(chosen: OrdinalSet): Pick<MadePack, "ids" | "ordinals"> {
    const space = this.#space;
    const h = hashBytes(space.objectFormat);
    const unsorted = Buffer.alloc(chosen.size * h);
    const members: number[] = [];
    chosen.forEach((ordinal) => {
      unsorted.write(space.oidOf(ordinal), members.length * h, "hex");
      members.push(ordinal);
    });
    const ids = new Uint8Array(unsorted.length);
    const ordinals: number[] = [];
    for (const from of sortOids(unsorted, members.length, h)) {
      ids.set(unsorted.subarray(from * h, (from + 1) * h), ordinals.length * h);
      ordinals.push(members[from] as number);
    }
    return { ids, ordinals };
  }
}

type MadePack = PlannedPack & { readonly ordinals: readonly number[] };

function planned(pack: MadePack | undefined): PlannedPack | undefined {
  if (pack === undefined) return undefined;
  const { objectCount, ids, made } = pack;
  return { objectCount, ids, made };
}

function withTimes(pack: MadePack | undefined, sorting: Sorting): SweepPlan["unneeded"] {
  if (pack === undefined) return undefined;
  const { objectCount, ids, made } = pack;
  const mtimes = Uint32Array.from(pack.ordinals, (ordinal) => sorting.timeOf(ordinal));
  return { objectCount, ids, made, mtimes };
}
