/** Why an update is refused, in git's words where git has them; they stand behind `ng REF` in a push's report. */
import type { RefRefusalCode, RefTransaction, RefUpdateResult } from "../contracts/ref-store.js";

export interface Refusal {
  readonly code: RefRefusalCode;
  readonly reason: string;
}

/** One place an update, in the transaction's order; undefined = nothing is wrong with it so far. */
export type Refusals = (Refusal | undefined)[];

export const REFUSALS = {
  exists: { code: "exists", reason: "reference already exists" },
  missing: { code: "missing", reason: "reference does not exist" },
  stale: { code: "stale", reason: "incorrect old value provided; fetch first" },
  tooDeep: { code: "rejected", reason: "too many levels of symbolic refs" },
  headDeletion: { code: "rejected", reason: "refusing to delete HEAD" },
  atomic: { code: "aborted", reason: "atomic transaction failed" },
  hook: { code: "aborted", reason: "ref updates aborted by hook" },
} as const satisfies Record<string, Refusal>;

export function badName(why: string): Refusal {
  return { code: "bad-name", reason: `funny refname: ${why}` };
}

export function duplicate(name: string): Refusal {
  return { code: "rejected", reason: `multiple updates for ref '${name}' not allowed` };
}

export function brokenRef(name: string): Refusal {
  return { code: "rejected", reason: `unable to resolve reference '${name}': reference broken` };
}

export function nameConflict(text: string): Refusal {
  return { code: "name-conflict", reason: `refname conflict: ${text}` };
}

/** @param lock the lock file, relative to the git directory: peers learn no path of the server */
export function lockedRef(name: string, lock: string, heldSeconds: number | undefined): Refusal {
  const since = heldSeconds === undefined ? "" : ` for ${heldSeconds} s`;
  return {
    code: "locked",
    reason: `cannot lock ref '${name}': ${lock} exists${since}; another process holds it, or one died and left it behind`,
  };
}

/** In an atomic transaction one refusal is everybody's. */
export function settleAtomic(transaction: RefTransaction, refusals: Refusals): void {
  if (!transaction.atomic || refusals.every((refusal) => refusal === undefined)) return;
  for (let i = 0; i < refusals.length; i++) refusals[i] ??= REFUSALS.atomic;
}

export function formatResults(transaction: RefTransaction, refusals: Refusals): RefUpdateResult[] {
  return transaction.updates.map(({ name }, i) => {
    const refusal = refusals[i];
    return refusal === undefined ? { name, ok: true } : { name, ok: false, ...refusal };
  });
}
