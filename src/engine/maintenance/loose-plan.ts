/** Which loose objects of a repository go into a pack, and what bytes that is made of. Deltas are looked for among them. */
import { isPromise } from "../../base/maybe-promise.js";
import { isGitwharfError } from "../../base/errors.js";
import { hashObject, type ObjectId } from "../../object/object-id.js";
import type { ObjectReader } from "../../storage/contracts/object-reader.js";
import { ObjectSpace } from "../fetch/object-space.js";
import { OrdinalSet } from "../fetch/ordinal-set.js";
import type { PlanData } from "../fetch/plan-data.js";
import { layOutPack } from "../fetch/plan-layout.js";
import type { WorkBudget } from "../fetch/work-budget.js";

export interface LooseRequest {
  readonly loose: readonly ObjectId[];
  /** Keys of the repository's packs in which an object is as safe as in the one to be made. */
  readonly packs: ReadonlySet<string>;
}

export interface LoosePlan {
  /** undefined: all of them stand in packs. */
  readonly plan: PlanData | undefined;
  /** Those that need no file of their own any more when the pack is there; the rest cannot be read. */
  readonly packed: readonly ObjectId[];
}

/** @throws storage/io */
export async function planLoose(
  objects: ObjectReader,
  request: LooseRequest,
  budget: WorkBudget,
): Promise<LoosePlan> {
  const space = new ObjectSpace(objects);
  const chosen = new OrdinalSet(space.packedCount);
  const packed: ObjectId[] = [];
  const safe = space.packs.filter(({ key }) => request.packs.has(key));
  for (const oid of request.loose) {
    if (budget.spend(5)) await budget.pause();
    if (safe.some(({ index }) => index.find(oid) >= 0)) {
      packed.push(oid);
      continue;
    }
    const ordinal = space.ordinalOf(oid);
    if (!(await isReadable(space, ordinal, oid))) continue;
    chosen.add(ordinal);
    packed.push(oid);
  }
  if (chosen.size === 0) return { plan: undefined, packed };
  const selection = {
    space,
    chosen,
    uninteresting: new OrdinalSet(0),
    previous: new Map(),
    nameHashes: new Map(),
  };
  return { plan: await layOutPack(selection, { thinPack: false, ofsDelta: true, budget }), packed };
}

async function isReadable(space: ObjectSpace, ordinal: number, oid: ObjectId): Promise<boolean> {
  try {
    const read = space.read(ordinal);
    const { type, data } = isPromise(read) ? await read : read;
    return hashObject(space.objectFormat, type, data) === oid;
  } catch (error) {
    if (!isGitwharfError(error, "object/corrupt")) throw error;
    return false;
  }
}
