/**
 * Makes the `ReachableSet` of some tips, on whichever thread.
 */
import { createHash } from "node:crypto";
import { isPromise } from "../../base/maybe-promise.js";
import type { ObjectId } from "../../object/object-id.js";
import type { ObjectReader } from "../../storage/contracts/object-reader.js";
import { countObjects } from "../object-count.js";
import { OPEN_GATE } from "./filter-evaluation.js";
import { hashList } from "./hash-list.js";
import { ObjectSpace } from "./object-space.js";
import { packIdentity, type ReachableSet, toReachableSet } from "./reachable-set.js";
import type { WorkBudget } from "./work-budget.js";

export interface ReachableRequest {
  readonly tips: readonly ObjectId[];
  /** Commits whose parents are absent. */
  readonly cutAt: readonly ObjectId[];
  readonly seeds: readonly ReachableSet[];
}

/** Tips that are absent are passed over. @throws object/corrupt */
export async function collectReachable(
  objects: ObjectReader,
  request: ReachableRequest,
  budget: WorkBudget,
): Promise<ReachableSet> {
  const space = new ObjectSpace(objects);
  const wants: ObjectId[] = [];
  for (const oid of request.tips) {
    if (budget.spend(0.1)) await budget.pause();
    const has = objects.has(oid);
    if (isPromise(has) ? await has : has) wants.push(oid);
  }
  const { chosen, closure } = await countObjects({
    space,
    wants,
    haves: [],
    cutAt: new Set(request.cutAt),
    gate: OPEN_GATE,
    tagsToInclude: [],
    seeds: request.seeds,
    budget,
  });
  return closure ?? toReachableSet(space, chosen, wants);
}

/** Equal digests mean equal sets, whatever the seeds. The order of tips counts: sorting them would cost more. */
export async function reachableDigest(
  objects: ObjectReader,
  request: ReachableRequest,
  budget: WorkBudget,
): Promise<string> {
  const hash = createHash("sha256");
  await hashList(hash, "packs", objects.packs.map(packIdentity).sort(), budget);
  await hashList(hash, "tips", request.tips, budget);
  await hashList(hash, "cut", request.cutAt, budget);
  return hash.digest("base64");
}
