/** git's reference-transaction hook, asked in the order in which git asks it. */
import { throwIfAborted } from "../../base/errors.js";
import type { MaybePromise } from "../../base/maybe-promise.js";
import type { RefTransaction, RefUpdate } from "../contracts/ref-store.js";
import type { PlannedUpdate } from "./planned-update.js";
import { REFUSALS, type Refusals } from "./ref-refusal.js";

/**
 * Asks about what is locked and checked, has it carried out, and tells what became of it.
 *
 * @param commit may still refuse updates, by writing into `refusals`
 * @throws base/aborted when the signal fired before the commit began
 */
export async function decide(
  transaction: RefTransaction,
  plans: readonly PlannedUpdate[],
  refusals: Refusals,
  commit: (accepted: readonly PlannedUpdate[]) => MaybePromise<void>,
): Promise<void> {
  const accepted = plans.filter(({ index }) => refusals[index] === undefined);
  if (accepted.length === 0) return;
  const { onState } = transaction;
  const updates: readonly RefUpdate[] = onState === undefined ? [] : accepted.map(({ update }) => update);
  if (onState !== undefined && !(await onState("prepared", updates))) {
    for (const { index } of accepted) refusals[index] = REFUSALS.hook;
    await onState("aborted", updates);
    return;
  }
  if (transaction.signal?.aborted === true) {
    await onState?.("aborted", updates);
    throwIfAborted(transaction.signal);
  }
  await commit(accepted);
  if (onState === undefined) return;
  const done = accepted.filter(({ index }) => refusals[index] === undefined);
  // Nothing came of it: whoever agreed is to know.
  if (done.length === 0) await onState("aborted", updates);
  else
    await onState(
      "committed",
      done.map(({ update }) => update),
    );
}
