/**
 * Planning a pack of objects that somebody has listed: nothing is walked, so what they lead to need not be there. For
 * repositories that hold a part of their objects, and for objects that no ref leads to.
 */
import { GitwharfError, invariant, throwIfAborted } from "../base/errors.js";
import { isPromise } from "../base/maybe-promise.js";
import type { ObjectId } from "../object/object-id.js";
import type { ObjectReader } from "../storage/contracts/object-reader.js";
import { bindPlan, computeSomewhere, findPacks, type PackPlan } from "./pack-plan.js";

export interface ListedPack {
  /** Each goes once. */
  readonly oids: Iterable<ObjectId>;
  /** Objects that the other side has, and that stored deltas may go on standing on. Those that are not here are passed over. */
  readonly bases?: Iterable<ObjectId> | undefined;
  /** By one of `oids`, an object that the other side has and that it resembles: it is sent as a delta where that pays. */
  readonly previous?: ReadonlyMap<ObjectId, ObjectId> | undefined;
}

export interface ListedPackOptions extends ListedPack {
  /** Not closed before the plan is. */
  readonly objects: ObjectReader;
  /** Deltas may stand on `bases` and `previous`. @default false */
  readonly thinPack?: boolean | undefined;
  /** @default false */
  readonly ofsDelta?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** @throws object/corrupt when one of them is not there, storage/io, base/aborted */
export async function planObjects(options: ListedPackOptions): Promise<PackPlan> {
  const { objects, thinPack = false, ofsDelta = false, signal } = options;
  const oids = new Set(options.oids);
  for (const oid of oids) {
    throwIfAborted(signal);
    if (!(await isThere(objects, oid)))
      throw new GitwharfError("object/corrupt", `object ${oid} is to be sent and is not there`);
  }
  const bases = new Set<ObjectId>();
  const previous = new Map<ObjectId, ObjectId>();
  if (thinPack) {
    for (const oid of options.bases ?? [])
      if (!oids.has(oid) && (await isThere(objects, oid))) bases.add(oid);
    for (const [oid, base] of options.previous ?? []) {
      if (!oids.has(oid) || oids.has(base) || !(await isThere(objects, base))) continue;
      bases.add(base);
      previous.set(oid, base);
    }
  }
  const { plan } = await computeSomewhere(
    objects,
    {
      wants: [],
      haves: [],
      cutAt: [],
      filter: undefined,
      sparseBlobs: [],
      thinPack: bases.size > 0,
      ofsDelta,
      tags: [],
      seeds: [],
      listed: { oids: [...oids], bases: [...bases], previous },
    },
    signal,
  );
  const packs = findPacks(plan, objects);
  invariant(packs !== undefined, "a plan names only packs of the objects that it was made from");
  return bindPlan({ data: plan, trailer: plan.trailer }, packs, objects);
}

async function isThere(objects: ObjectReader, oid: ObjectId): Promise<boolean> {
  const has = objects.has(oid);
  return isPromise(has) ? await has : has;
}
