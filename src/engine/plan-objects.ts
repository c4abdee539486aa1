/**
 * Planning a pack of objects that somebody has listed: nothing is walked, so what they lead to need not be there. For
 * repositories that hold a part of their objects, and for objects that no ref leads to.
 */
import { GitwharfError, invariant, throwIfAborted } from "../base/errors.js";
import { isPromise } from "../base/maybe-promise.js";
import type { ObjectId } from "../object/object-id.js";
import type { ObjectReader } from "../storage/contracts/object-reader.js";
import { bindPlan, computeSomewhere, findPacks, type PackPlan } from "./pack-plan.js";

export interface ListedPackOptions {
  /** Not closed before the plan is. */
  readonly objects: ObjectReader;
  /** Each goes once. */
  readonly oids: Iterable<ObjectId>;
  /** Objects that are at hand here and that the other side has: what thin deltas may stand on. @default none */
  readonly bases?: Iterable<ObjectId> | undefined;
  /** @default false */
  readonly ofsDelta?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** @throws object/corrupt when one of them is not there, storage/io, base/aborted */
export async function planObjects(options: ListedPackOptions): Promise<PackPlan> {
  const { objects, bases = [], ofsDelta = false, signal } = options;
  const oids = await thoseThere(objects, new Set(options.oids), signal);
  const absent = oids.absent[0];
  if (absent !== undefined)
    throw new GitwharfError("object/corrupt", `object ${absent} is to be sent and is not there`);
  const stands = await thoseThere(objects, new Set(bases), signal);
  const { plan } = await computeSomewhere(
    objects,
    {
      wants: [],
      haves: [],
      cutAt: [],
      filter: undefined,
      sparseBlobs: [],
      thinPack: stands.there.length > 0,
      ofsDelta,
      tags: [],
      seeds: [],
      listed: { oids: oids.there, bases: stands.there },
    },
    signal,
  );
  const packs = findPacks(plan, objects);
  invariant(packs !== undefined, "a plan names only packs of the objects that it was made from");
  return bindPlan({ data: plan, trailer: plan.trailer }, packs, objects);
}

async function thoseThere(
  objects: ObjectReader,
  oids: ReadonlySet<ObjectId>,
  signal: AbortSignal | undefined,
): Promise<{ readonly there: readonly ObjectId[]; readonly absent: readonly ObjectId[] }> {
  const there: ObjectId[] = [];
  const absent: ObjectId[] = [];
  for (const oid of oids) {
    const has = objects.has(oid);
    const isThere = isPromise(has) ? await has : has;
    (isThere ? there : absent).push(oid);
    throwIfAborted(signal);
  }
  return { there, absent };
}
