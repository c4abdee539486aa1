/**
 * Everything that can be reached from some tips, as a set: made once for a state of the repository and asked many
 * times (a partial clone fetches its blobs one by one, and each is looked up before it is sent).
 */
import { createHash } from "node:crypto";
import { isPromise } from "../../base/maybe-promise.js";
import type { ObjectId } from "../../object/object-id.js";
import type { ObjectReader } from "../../storage/contracts/object-reader.js";
import { countObjects } from "../object-count.js";
import { OPEN_GATE } from "./filter-evaluation.js";
import { ObjectSpace } from "./object-space.js";
import type { WorkBudget } from "./work-budget.js";

/** Plain data: crosses threads. Bits are ordinals of the `ObjectSpace` over the same packs. */
export interface ReachableSet {
  readonly words: Uint32Array;
  /** Reached objects in no pack. */
  readonly outside: readonly ObjectId[];
}

export interface ReachableRequest {
  readonly tips: readonly ObjectId[];
  /** Commits whose parents are absent. */
  readonly cutAt: readonly ObjectId[];
}

/** Tips that are absent are passed over. */
export async function collectReachable(
  objects: ObjectReader,
  request: ReachableRequest,
  budget: WorkBudget,
): Promise<ReachableSet> {
  const space = new ObjectSpace(objects);
  const wants: ObjectId[] = [];
  for (const oid of request.tips) {
    const has = objects.has(oid);
    if (isPromise(has) ? await has : has) wants.push(oid);
  }
  const { chosen } = await countObjects({
    space,
    wants,
    haves: [],
    cutAt: new Set(request.cutAt),
    gate: OPEN_GATE,
    tagsToInclude: [],
    budget,
  });
  const outside: ObjectId[] = [];
  chosen.forEachBetween(space.packedCount, space.size, (ordinal) => outside.push(space.oidOf(ordinal)));
  return { words: chosen.words, outside };
}

export function reachableDigest(objects: ObjectReader, request: ReachableRequest): string {
  const hash = createHash("sha256");
  for (const pack of objects.packs.map((p) => `${p.key} ${p.index.packTrailer}\n`).sort()) hash.update(pack);
  for (const oid of [...new Set(request.tips)].sort()) hash.update(oid);
  hash.update("cut");
  for (const oid of [...request.cutAt].sort()) hash.update(oid);
  return hash.digest("base64");
}
