/**
 * Parting with what nothing leads to, where others (git) work on the same repository: all that is needed becomes one pack, all else
 * another, in which each object bears the time when nothing was found to lead to it; when it has waited long enough there it goes.
 * Loose objects move into the one or the other. What goes where is found out in a worker. In memory: about a kilobyte an
 * object, and some mebibytes.
 *
 * Differs from git: an object that is found to be unreachable waits from then on, whatever the time of its pack. So what a push that
 * is under way builds on is there when its refs move, even if the branch that it came from was deleted meanwhile.
 */
import { GitwharfError, throwIfAborted } from "../../base/errors.js";
import { isPromise } from "../../base/maybe-promise.js";
import { runInWorker } from "../../base/worker-pool.js";
import { parseCommitLinks } from "../../object/commit.js";
import { hashBytes } from "../../object/object-format.js";
import { type ObjectId, objectIdAt } from "../../object/object-id.js";
import { parseTagLinks } from "../../object/tag.js";
import type { Pack } from "../../pack/pack.js";
import { PackIndex } from "../../pack/pack-index.js";
import { formatPackMtimes } from "../../pack/pack-mtimes.js";
import type { ObjectReader } from "../../storage/contracts/object-reader.js";
import type { PackSink } from "../../storage/contracts/quarantine.js";
import type { Snapshot } from "../../storage/contracts/repository.js";
import type { SweepReplacement, SweepWork, Upkeep } from "../../storage/contracts/upkeep.js";
import { TreeCursor } from "../fetch/tree-cursor.js";
import { membership } from "../reachability.js";
import { mustBeWhole } from "./must-be-whole.js";
import type { PlannedPack, SweepPlan, SweepRequest } from "./sweep-plan.js";
import type { SweepTask } from "./sweep-worker.js";
import { writeCopiedPack } from "./fold-packs.js";
import { writePlannedPack } from "./write-planned-pack.js";

export type SweepOutcome =
  | {
      readonly kind: "swept";
      /** Objects in packs or loose that something leads to. */
      readonly reachable: number;
      /** Those that wait. */
      readonly unreachable: number;
      readonly dropped: number;
      readonly packsRemoved: number;
      readonly looseRemoved: number;
      /** Why what has waited long enough did not go. */
      readonly keptBecause: string | undefined;
    }
  /** Everything stands well as it is. */
  | { readonly kind: "nothing to do" }
  | { readonly kind: "left to others" }
  | { readonly kind: "impossible"; readonly why: string };

export interface SweepOptions {
  /** How long unreachable objects wait; 0: they go at once, Infinity: they stay. */
  readonly graceMs: number;
  readonly signal?: AbortSignal | undefined;
}

const WORKER = new URL("./sweep-worker.js", import.meta.url);
/** Objects of what has come meanwhile that are looked at before others go. */
const LOOKED_AT_MAX = 200_000;
const COMPARED_AT_ONCE = 20_000;

/** @throws object/corrupt when something that is needed is missing or damaged, storage/io, storage/not-found, base/aborted */
export async function sweepGarbage(upkeep: Upkeep, options: SweepOptions): Promise<SweepOutcome> {
  throwIfAborted(options.signal);
  const beginning = await upkeep.beginSweep();
  if (beginning.kind !== "begun") return beginning;
  const { work } = beginning;
  try {
    return await new Sweep(work, options).run();
  } finally {
    await work.release();
  }
}

class Sweep {
  readonly #work: SweepWork;
  readonly #options: SweepOptions;

  constructor(work: SweepWork, options: SweepOptions) {
    this.#work = work;
    this.#options = options;
  }

  async run(): Promise<SweepOutcome> {
    const work = this.#work;
    const { signal } = this.#options;
    const { expireSeconds, keptBecause } = await this.#expiry();
    const request = requestOf(work, expireSeconds);
    const { objects } = work.snapshot;
    const plan = await runInWorker<SweepTask, SweepPlan>(
      WORKER,
      { objects: objects.describe(), request },
      { signal, isBackground: true },
    );
    const needed = await this.#place(plan.needed);
    const unneeded = await this.#placeUnneeded(plan.unneeded);
    const removed = work.packs
      .map(({ pack }) => pack)
      .filter((pack) => pack !== needed && pack !== unneeded?.pack);
    const unreadable = new Set(plan.unreadable);
    const removedLoose = work.loose.filter((oid) => !unreadable.has(oid));
    if (removed.length === 0 && removedLoose.length === 0 && !this.#isChanged(needed, unneeded))
      return { kind: "nothing to do" };
    if (removed.length > 0 || removedLoose.length > 0) await this.#mustStandWhole([needed, unneeded?.pack]);
    throwIfAborted(signal);
    const replaced = await work.replace({
      needed,
      unneeded,
      removed,
      dropping:
        plan.droppedCount === 0 ? undefined : await this.#packsWith(membership(objects, plan.dropped)),
      removedLoose,
      mayStillDrop: (now) => this.#mayStillDrop(plan, now),
    });
    if (replaced === "changed") return { kind: "left to others" };
    return this.#describe(plan, { replaced, keptBecause, removed, removedLoose });
  }

  #describe(
    plan: SweepPlan,
    done: {
      readonly replaced: SweepReplacement;
      readonly keptBecause: string | undefined;
      readonly removed: readonly Pack[];
      readonly removedLoose: readonly ObjectId[];
    },
  ): SweepOutcome {
    const isKept = done.replaced === "kept";
    const unneeded = plan.unneeded?.objectCount ?? 0;
    return {
      kind: "swept",
      reachable: plan.needed?.objectCount ?? 0,
      unreachable: unneeded + (isKept ? plan.droppedCount : 0),
      dropped: isKept ? 0 : plan.droppedCount,
      packsRemoved: done.removed.length,
      looseRemoved: isKept ? 0 : done.removedLoose.length,
      keptBecause: isKept ? "something leads to it again, or a push is under way" : done.keptBecause,
    };
  }

  /** What was found at that time or before may go. */
  async #expiry(): Promise<{ readonly expireSeconds: number; readonly keptBecause: string | undefined }> {
    const { graceMs } = this.#options;
    const { nowMs, packs } = this.#work;
    const expireSeconds = Math.floor((nowMs - graceMs) / 1000);
    const isAny = graceMs <= 0 || packs.some(({ mtimes }) => mtimes?.some((time) => time <= expireSeconds));
    if (!isAny) return { expireSeconds: Number.NEGATIVE_INFINITY, keptBecause: undefined };
    const keptBecause = await this.#work.whyKept();
    return {
      expireSeconds: keptBecause === undefined ? expireSeconds : Number.NEGATIVE_INFINITY,
      keptBecause,
    };
  }

  /** One of the packs that stand there, or a new one. */
  async #place(planned: PlannedPack | undefined, mtimes?: Uint32Array): Promise<Pack | undefined> {
    if (planned === undefined) return undefined;
    const { made } = planned;
    if (made.of === "pack") return this.#packOf(made.key);
    const { signal } = this.#options;
    const createPack = async (): Promise<PackSink> => {
      const sink = await this.#work.createPack();
      return mtimes === undefined ? sink : withMtimes(sink, mtimes, this.#work.snapshot);
    };
    const pack =
      made.of === "entries"
        ? await writeCopiedPack(
            made.plan,
            made.packKeys.map((key) => this.#packOf(key)),
            { createPack, signal },
          )
        : await writePlannedPack(made.plan, {
            objects: this.#work.snapshot.objects,
            createPack,
            signal,
          });
    await mustHold(pack, planned.ids);
    return pack;
  }

  /** Of packs that were there before: what is written now was checked on the way. */
  async #mustStandWhole(staying: readonly (Pack | undefined)[]): Promise<void> {
    const { signal } = this.#options;
    for (const { pack } of this.#work.packs) if (staying.includes(pack)) await mustBeWhole(pack, { signal });
  }

  #packOf(key: string): Pack {
    const found = this.#work.packs.find(({ pack }) => pack.key === key);
    if (found === undefined)
      throw new GitwharfError("base/invariant", "a sweep names a pack that is not open");
    return found.pack;
  }

  async #placeUnneeded(
    planned: SweepPlan["unneeded"],
  ): Promise<{ readonly pack: Pack; readonly mtimes: Uint8Array } | undefined> {
    const pack = await this.#place(planned, planned?.mtimes);
    if (pack === undefined || planned === undefined) return undefined;
    return { pack, mtimes: formatPackMtimes(pack.index, planned.mtimes) };
  }

  /** A pack that stays is to be of the other kind now, or has other times. */
  #isChanged(
    needed: Pack | undefined,
    unneeded: { readonly pack: Pack; readonly mtimes: Uint8Array } | undefined,
  ): boolean {
    const { packs } = this.#work;
    const mtimesOf = (pack: Pack | undefined): Uint32Array | undefined =>
      packs.find((each) => each.pack === pack)?.mtimes;
    if (mtimesOf(needed) !== undefined) return true;
    if (unneeded === undefined) return false;
    const before = mtimesOf(unneeded.pack);
    return before === undefined || !formatPackMtimes(unneeded.pack.index, before).equals(unneeded.mtimes);
  }

  async #packsWith(isDropped: (oid: ObjectId) => boolean): Promise<ReadonlySet<Pack>> {
    const found = new Set<Pack>();
    for (const { pack, mtimes } of this.#work.packs) {
      // What was not known to be unreachable waits first.
      if (mtimes === undefined && this.#options.graceMs > 0) continue;
      for (let position = 0; position < pack.objectCount && !found.has(pack); position++) {
        if (isDropped(pack.index.oidAt(position))) found.add(pack);
        if (position % COMPARED_AT_ONCE === 0) await new Promise((resolve) => setImmediate(resolve));
      }
    }
    return found;
  }

  /** False when something that has come to lead to objects meanwhile leads to one that is to go. */
  async #mayStillDrop(
    plan: SweepPlan,
    { snapshot, roots }: Pick<SweepWork, "snapshot" | "roots">,
  ): Promise<boolean> {
    const { objects } = this.#work.snapshot;
    const isReached = membership(objects, plan.reached);
    const isDropped = membership(objects, plan.dropped);
    const stack = [...tipsOf(snapshot), ...roots];
    const seen = new Set<ObjectId>();
    for (let oid = stack.pop(); oid !== undefined; oid = stack.pop()) {
      if (seen.has(oid) || isReached(oid)) continue;
      if (isDropped(oid) || seen.size > LOOKED_AT_MAX) return false;
      seen.add(oid);
      throwIfAborted(this.#options.signal);
      stack.push(...(await linksOf(snapshot.objects, oid)));
    }
    return true;
  }
}

function requestOf(work: SweepWork, expireSeconds: number): SweepRequest {
  const { snapshot } = work;
  return {
    tips: tipsOf(snapshot),
    roots: work.roots,
    rawRoots: work.rawRoots,
    cutAt: [...snapshot.shallow],
    packs: new Map(work.packs.map(({ pack, mtimes }) => [pack.key, mtimes])),
    held: new Set(work.held.map(({ key }) => key)),
    loose: work.loose,
    nowSeconds: Math.floor(work.nowMs / 1000),
    expireSeconds,
  };
}

function tipsOf({ refs, head }: Pick<Snapshot, "refs" | "head">): ObjectId[] {
  const tips = new Set(refs.all.map(({ oid }) => oid));
  if (head.oid !== undefined) tips.add(head.oid);
  return [...tips];
}

function withMtimes(sink: PackSink, mtimes: Uint32Array, { objects }: Snapshot): PackSink {
  return {
    get sizeBytes() {
      return sink.sizeBytes;
    },
    append: (bytes) => sink.append(bytes),
    overwrite: (offset, bytes) => sink.overwrite(offset, bytes),
    truncate: (sizeBytes) => sink.truncate(sizeBytes),
    range: () => sink.range(),
    finish: (files) =>
      sink.finish({
        ...files,
        mtimes: formatPackMtimes(PackIndex.parse(files.index, objects.objectFormat), mtimes),
      }),
    abort: () => sink.abort(),
  };
}

/** Before anything goes: what was to be in the pack is in it. */
async function mustHold({ index }: Pack, ids: Uint8Array): Promise<void> {
  const h = hashBytes(index.objectFormat);
  let isRight = index.objectCount * h === ids.length;
  for (let position = 0; isRight && position < index.objectCount; position++) {
    isRight = index.hasOidAt(position, ids, position * h);
    if (position % COMPARED_AT_ONCE === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  if (!isRight)
    throw new GitwharfError("base/invariant", "a pack was written that does not hold what was planned");
}

/** None of what is absent or cannot be read. */
async function linksOf(objects: ObjectReader, oid: ObjectId): Promise<ObjectId[]> {
  const { objectFormat } = objects;
  const header = objects.readHeader(oid);
  if ((isPromise(header) ? await header : header)?.type === "blob") return [];
  const read = objects.read(oid);
  const object = isPromise(read) ? await read : read;
  if (object === undefined) return [];
  const { type, data } = object;
  if (type === "tag") return [parseTagLinks(data, objectFormat).target];
  if (type === "commit") {
    const { tree, parents } = parseCommitLinks(data, objectFormat);
    return [tree, ...parents];
  }
  const links: ObjectId[] = [];
  const cursor = new TreeCursor(data, hashBytes(objectFormat));
  while (cursor.next()) if (!cursor.isGitlink) links.push(objectIdAt(data, cursor.oidAt, objectFormat));
  return links;
}
