/**
 * What a transaction is about to do, found out before anything is locked: names are checked, symbolic refs are
 * followed as git follows them (the ref that they name changes, not they), and no ref is named twice.
 */
import { checkRefName } from "../../object/ref-name.js";
import type { RefTransaction, RefUpdate } from "../contracts/ref-store.js";
import { badName, duplicate, REFUSALS, type Refusal, type Refusals } from "./ref-refusal.js";
import { type RefValue, resolveRef } from "./ref-state.js";

export interface PlannedUpdate {
  /** Its place in the transaction. */
  readonly index: number;
  readonly update: RefUpdate;
  /** The ref that changes. */
  readonly name: string;
  /** Symbolic refs that led to `name`, HEAD among them: their reflogs get the line too. */
  readonly through: readonly string[];
}

/** @param read what a ref says, as far as is known before locking */
export function planUpdates(
  updates: readonly RefUpdate[],
  read: (name: string) => RefValue | undefined,
): { readonly planned: readonly PlannedUpdate[]; readonly refusals: Refusals } {
  const refusals: Refusals = [];
  const byName = new Map<string, number>();
  const planned = updates.map((update, index): PlannedUpdate => {
    refusals[index] = checkNames(update);
    if (refusals[index] !== undefined || update.symbolicTarget !== undefined) {
      return claim({ index, update, name: update.name, through: [] });
    }
    const end = resolveRef(update.name, read);
    if (end.value?.kind === "symbolic") refusals[index] = REFUSALS.tooDeep;
    // git has no other way to get rid of a symbolic ref that names nothing.
    const itself = update.newOid === null && end.value === undefined && update.name !== "HEAD";
    return claim(
      itself
        ? { index, update, name: update.name, through: [] }
        : { index, update, name: end.name, through: end.through },
    );
  });

  function claim(plan: PlannedUpdate): PlannedUpdate {
    const first = byName.get(plan.name);
    if (first === undefined) byName.set(plan.name, plan.index);
    else {
      refusals[plan.index] ??= duplicate(plan.name);
      refusals[first] ??= duplicate(plan.name);
    }
    return plan;
  }
  return { planned, refusals };
}

function checkNames({ name, newOid, symbolicTarget }: RefUpdate): Refusal | undefined {
  if (name === "HEAD") {
    if (newOid === null && symbolicTarget === undefined) return REFUSALS.headDeletion;
  } else {
    const why = checkRefName(name) ?? (name.startsWith("refs/") ? undefined : "it is not below refs/");
    if (why !== undefined) return badName(why);
  }
  if (symbolicTarget === undefined) return undefined;
  const why =
    checkRefName(symbolicTarget) ??
    (symbolicTarget.startsWith("refs/") ? undefined : "it is not below refs/");
  return why === undefined ? undefined : badName(`'${symbolicTarget}' cannot be the target: ${why}`);
}

export function isDeletion({ newOid, symbolicTarget }: RefUpdate): boolean {
  return newOid === null && symbolicTarget === undefined;
}

/**
 * The parts of a transaction that are carried out one after the other. Where each update stands on its own,
 * deletions go first, so that `a` can make room for `a/b` in one push, as in git.
 */
export function splitTransaction(
  transaction: RefTransaction,
  planned: readonly PlannedUpdate[],
): readonly (readonly PlannedUpdate[])[] {
  if (transaction.atomic) return [planned];
  const deletions = planned.filter(({ update }) => isDeletion(update));
  if (deletions.length === 0 || deletions.length === planned.length) return [planned];
  return [deletions, planned.filter(({ update }) => !isDeletion(update))];
}
