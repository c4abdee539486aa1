/**
 * One request for a pack, resolved to ids: everything the plan depends on besides the objects themselves. Plain
 * data, so that it crosses to a worker, and has a digest under which the plan is kept.
 */
import { createHash } from "node:crypto";
import type { ObjectId } from "../../object/object-id.js";
import type { ObjectReader } from "../../storage/contracts/object-reader.js";
import { formatFilter, type ObjectFilter } from "../filter.js";
import { countObjects, type ObjectSelection, type TagToInclude } from "../object-count.js";
import { compileFilter } from "./filter-evaluation.js";
import { hashList } from "./hash-list.js";
import { ObjectSpace } from "./object-space.js";
import { OrdinalSet } from "./ordinal-set.js";
import type { PlanData } from "./plan-data.js";
import { layOutPack } from "./plan-layout.js";
import { packIdentity, type ReachableSet } from "./reachable-set.js";
import { WorkBudget } from "./work-budget.js";

export interface PlanRequest {
  readonly wants: readonly ObjectId[];
  readonly haves: readonly ObjectId[];
  /** Commits to be taken as having no parents. */
  readonly cutAt: readonly ObjectId[];
  readonly filter: ObjectFilter | undefined;
  readonly sparseBlobs: readonly ObjectId[];
  readonly thinPack: boolean;
  readonly ofsDelta: boolean;
  readonly tags: readonly TagToInclude[];
  /** Keys of packs that are left out when all that is in one of them is sent: the other side gets it elsewhere. */
  readonly elsewhere?: readonly string[] | undefined;
  /** Do not change what is planned, only what it costs. */
  readonly seeds: readonly ReachableSet[];
  /** Nothing is walked: these are sent. There are no wants, haves and tags then, and the plan is not kept. */
  readonly listed?: ListedObjects | undefined;
}

export interface ListedObjects {
  readonly oids: readonly ObjectId[];
  /** What the other side has: thin deltas may stand on it. */
  readonly bases: readonly ObjectId[];
  /** One of `oids` → one of `bases` that stood in its place. */
  readonly previous: ReadonlyMap<ObjectId, ObjectId>;
}

export interface ComputedPlan {
  readonly plan: PlanData;
  /** Of a clone: what the next one may be grown from. */
  readonly closure: ReachableSet | undefined;
}

/** The whole computation, on whichever thread. */
export async function computePlan(
  objects: ObjectReader,
  request: PlanRequest,
  budget: WorkBudget,
): Promise<ComputedPlan> {
  const space = new ObjectSpace(objects);
  const selection =
    request.listed === undefined
      ? await countRequested(space, request, budget)
      : await selectListed(space, request.listed, budget);
  const elsewhere = leaveOut(selection, request);
  const plan = await layOutPack(selection, {
    thinPack: request.thinPack,
    ofsDelta: request.ofsDelta,
    budget,
  });
  const { closure } = selection;
  return { plan: elsewhere.length === 0 ? plan : { ...plan, elsewhere }, closure };
}

async function countRequested(
  space: ObjectSpace,
  request: PlanRequest,
  budget: WorkBudget,
): Promise<ObjectSelection> {
  const gate = await compileFilter(request.filter, space.objects, request.sparseBlobs);
  return countObjects({
    space,
    wants: request.wants,
    haves: request.haves,
    cutAt: new Set(request.cutAt),
    gate,
    tagsToInclude: request.tags,
    seeds: request.seeds,
    budget,
  });
}

async function selectListed(
  space: ObjectSpace,
  { oids, bases, previous }: ListedObjects,
  budget: WorkBudget,
): Promise<ObjectSelection> {
  const chosen = new OrdinalSet(space.packedCount);
  const uninteresting = new OrdinalSet(space.packedCount);
  for (const oid of oids) {
    if (budget.spend(0.2)) await budget.pause();
    chosen.add(space.ordinalOf(oid));
  }
  for (const oid of bases) {
    if (budget.spend(0.2)) await budget.pause();
    const ordinal = space.ordinalOf(oid);
    if (!chosen.has(ordinal)) uninteresting.add(ordinal);
  }
  const before = new Map<number, number>();
  for (const [oid, base] of previous) before.set(space.ordinalOf(oid), space.ordinalOf(base));
  return { space, chosen, uninteresting, previous: before, nameHashes: new Map() };
}

/**
 * Takes packs of which everything is chosen out of the selection. Nothing that is sent stands on what is in them: it is read
 * before they are. @returns their keys
 */
function leaveOut(
  { space, chosen }: ObjectSelection,
  { elsewhere = [], wants }: PlanRequest,
): readonly string[] {
  const left: string[] = [];
  for (const [k, { key, index }] of elsewhere.length === 0 ? [] : space.packs.entries()) {
    const first = space.firsts[k] as number;
    const end = first + index.objectCount;
    if (!elsewhere.includes(key) || chosen.countBetween(first, end) < index.objectCount) continue;
    for (let ordinal = first; ordinal < end; ordinal++) chosen.delete(ordinal);
    left.push(key);
  }
  // A pack of nothing is no answer.
  if (left.length > 0 && chosen.size === 0) for (const oid of wants) chosen.add(space.ordinalOf(oid));
  return left;
}

/** Longer lists are taken as they come: sorting them would take longer than other work may wait. */
const SORTED_MAX = 10_000;

/**
 * Equal digests mean equal plans: packs are immutable and named with their checksum, and what a commit leads to
 * depends on its id alone.
 * @param tagsDigest stands for `request.tags`
 */
export async function planDigest(
  objects: ObjectReader,
  request: PlanRequest,
  about: { readonly tagsDigest: string; readonly signal?: AbortSignal | undefined },
): Promise<string> {
  const hash = createHash("sha256");
  const budget = new WorkBudget({ signal: about.signal });
  const list = (name: string, items: readonly string[]): Promise<void> => hashList(hash, name, items, budget);
  const set = (name: string, items: readonly string[]): Promise<void> =>
    list(name, items.length > SORTED_MAX ? items : [...items].sort());
  await set("packs", objects.packs.map(packIdentity));
  await set("wants", request.wants);
  await set("haves", request.haves);
  await set("cut", request.cutAt);
  await list("sparse", request.sparseBlobs);
  await set("elsewhere", request.elsewhere ?? []);
  const filter = request.filter === undefined ? "" : formatFilter(request.filter);
  const rest = [objects.objectFormat, filter, `${request.thinPack} ${request.ofsDelta}`, about.tagsDigest];
  await list("rest", rest);
  return hash.digest("base64");
}
