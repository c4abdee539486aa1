/**
 * Changing many refs in packed-refs alone: one file to write and to sync, where git makes, locks and renames a file
 * a ref. It is for refs that have no file of their own.
 *
 * Why that is safe without the lock of each ref: others lock a ref first and read packed-refs then. Whoever raced us
 * has, when our new packed-refs is in place, either read the new value, or holds the lock, or has already made the
 * ref's file. So we look afterwards: what another process has changed, or may be changing, is taken back and refused.
 * (What it made stands in a file of its own, which counts, whatever packed-refs says.)
 */
import { isPromise } from "../../../base/maybe-promise.js";
import type { RefTransaction } from "../../contracts/ref-store.js";
import { isDeletion, type PlannedUpdate } from "../../refs/planned-update.js";
import { lockedRef, REFUSALS, type Refusals, settleAtomic } from "../../refs/ref-refusal.js";
import type { RefValue } from "../../refs/ref-state.js";
import type { FilesRefs } from "./files-refs.js";
import { parentOf } from "./loose-refs.js";
import type { PackedChange } from "./packed-refs.js";
import type { PackedRefsChange } from "./packed-refs-change.js";
import { baseOf } from "./ref-paths.js";

/** From so many refs on. */
export const PACK_FROM = 32;
const LOOK_AGAIN_MS = 10;

/** The updates that are to be made in packed-refs alone; none when there are few. */
export function choosePackedOnly(
  { loose, paths }: FilesRefs,
  plans: readonly PlannedUpdate[],
): ReadonlySet<PlannedUpdate> {
  if (plans.length < PACK_FROM) return new Set();
  const fit = plans.filter(
    ({ name, update }) =>
      update.symbolicTarget === undefined &&
      name.startsWith("refs/") &&
      baseOf(paths, name) === paths.commonDirectory &&
      loose.get(name) === undefined &&
      !loose.isLocked(name),
  );
  return new Set(fit.length < PACK_FROM ? [] : fit);
}

export function directoriesOf(plans: Iterable<PlannedUpdate>): ReadonlySet<string> {
  return new Set(Array.from(plans, ({ name }) => parentOf(name)));
}

/** What packed-refs is to say; undefined when it says so already. */
export async function packedChangeOf(
  { peel }: FilesRefs,
  { update }: PlannedUpdate,
  value: RefValue | undefined,
): Promise<PackedChange | null | undefined> {
  const { newOid } = update;
  const oid = value?.kind === "direct" ? value.ref.oid : undefined;
  if (isDeletion(update) || newOid === null) return oid === undefined ? undefined : null;
  if (newOid === oid) return undefined;
  if (peel === undefined) return { oid: newOid, peelKnown: false };
  const peeling = peel(newOid);
  const peeled = isPromise(peeling) ? await peeling : peeling;
  return peeled === undefined ? { oid: newOid, peelKnown: true } : { oid: newOid, peelKnown: true, peeled };
}

/**
 * Looks for others, after packed-refs is in place and while its lock is held. Refuses what they won, and takes back
 * what they may be winning; all of it when the transaction is atomic.
 * @param values what the refs said before
 */
export async function yieldToOthers(
  refs: FilesRefs,
  transaction: RefTransaction,
  plans: readonly PlannedUpdate[],
  refusals: Refusals,
  values: ReadonlyMap<string, RefValue | undefined>,
  packed: PackedRefsChange,
): Promise<void> {
  const { loose } = refs;
  const directories = directoriesOf(plans);
  const deadline = performance.now() + refs.refLockTimeoutMs;
  await refs.look(directories);
  while (plans.some(({ name }) => loose.isLocked(name)) && performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
    await refs.look(directories);
  }
  const lost: PlannedUpdate[] = [];
  for (const plan of plans) {
    const { index, name, update } = plan;
    const value = loose.get(name);
    if (loose.isLocked(name)) refusals[index] = lockedRef(name, `${name}.lock`, undefined);
    else if (value === undefined || (value.kind === "direct" && value.ref.oid === update.newOid)) continue;
    else refusals[index] = update.oldOid === null ? REFUSALS.exists : REFUSALS.stale;
    lost.push(plan);
  }
  if (lost.length === 0) return;
  settleAtomic(transaction, refusals);
  for (const { name } of transaction.atomic ? plans : lost) packed.set(name, changeBack(values.get(name)));
  await packed.write();
  await packed.commit();
}

function changeBack(value: RefValue | undefined): PackedChange | null {
  if (value?.kind !== "direct") return null;
  const { oid, peeled, peelKnown } = value.ref;
  return { oid, peelKnown: peelKnown === true, ...(peeled === undefined ? {} : { peeled }) };
}
