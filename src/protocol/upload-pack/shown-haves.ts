/**
 * Which haves the caller may hear are common. Where nothing is hidden, all that this side has. Where refs are hidden,
 * or objects are borrowed from other repositories, only what visible refs lead to: an ACK must not tell that a hidden
 * commit exists, nor a thin pack stand on one.
 *
 * Differs from git, which acknowledges whatever exists.
 */
import { isPromise } from "../../base/maybe-promise.js";
import { WorkBudget } from "../../engine/fetch/work-budget.js";
import { areReachable } from "../../engine/reachability.js";
import type { ObjectId } from "../../object/object-id.js";
import type { Snapshot } from "../../storage/contracts/repository.js";
import type { UploadPackContext } from "./upload-pack-context.js";
import type { VisibleRefs } from "./visible-refs.js";

/** undefined: all of them. Else the ones that may be looked up. */
export async function shownHaves(
  about: { readonly context: UploadPackContext; readonly snapshot: Snapshot; readonly refs: VisibleRefs },
  haves: readonly ObjectId[],
): Promise<ReadonlySet<ObjectId> | undefined> {
  const { context, snapshot, refs } = about;
  if (refs.isVisible === undefined && snapshot.alternateTips.length === 0) return undefined;
  const present: ObjectId[] = [];
  const budget = new WorkBudget({ signal: context.signal });
  for (const oid of haves) {
    if (budget.spend(0.2)) await budget.pause();
    const has = snapshot.objects.has(oid);
    if (isPromise(has) ? await has : has) present.push(oid);
  }
  const shown = new Set(present);
  for (const oid of await areReachable(snapshot, present, [...refs.tips()], context.signal))
    shown.delete(oid);
  return shown;
}
