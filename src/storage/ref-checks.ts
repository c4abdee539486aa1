/**
 * The part of a ref transaction that is the same for every store: names, duplicates, compare-and-swap, conflicts
 * of names. A store calls it with its refs locked.
 */
import { checkRefName } from "../object/ref-name.js";
import type { RefRefusalCode, RefSnapshot, RefTransaction, RefUpdate, RefUpdateResult } from "./contracts/ref-store.js";
import { findNameConflict } from "./ref-list.js";

export type Refusal = { readonly code: RefRefusalCode; readonly reason: string };

/** What can be said before anything is locked. One answer an update, undefined = nothing wrong so far. */
export function checkNames(updates: readonly RefUpdate[]): (Refusal | undefined)[] {
  const seen = new Map<string, number>();
  for (const update of updates) seen.set(update.name, (seen.get(update.name) ?? 0) + 1);
  return updates.map((update) => {
    const why = checkRefName(update.name, { oneLevel: true });
    if (why !== undefined) return { code: "bad-name", reason: `funny refname: ${why}` };
    if ((seen.get(update.name) ?? 0) > 1) return { code: "rejected", reason: "multiple updates for ref not allowed" };
    return undefined;
  });
}

/** Compares with the refs as they are now. */
export function checkUpdate(update: RefUpdate, snapshot: RefSnapshot): Refusal | undefined {
  if (update.name === "HEAD") return undefined;
  const current = snapshot.get(update.name);
  if (update.oldOid === null && current !== undefined) return { code: "exists", reason: "reference already exists" };
  if (typeof update.oldOid === "string") {
    if (current === undefined) {
      return { code: "missing", reason: `unable to resolve reference: expected ${update.oldOid} but it does not exist` };
    }
    if (current.oid !== update.oldOid) {
      return { code: "stale", reason: `is at ${current.oid} but expected ${update.oldOid}; fetch first` };
    }
  }
  return undefined;
}

/**
 * Refs that would be directories of others, among what exists and what the transaction makes and removes.
 * @param accepted the updates that are still to happen
 * @param update one of them
 */
export function checkNameConflict(update: RefUpdate, accepted: readonly RefUpdate[], snapshot: RefSnapshot): Refusal | undefined {
  if (update.newOid === null || update.name === "HEAD") return undefined;
  const { made, removed, below } = sortUpdates(accepted);
  const conflict = findNameConflict(
    update.name,
    (name) => made.has(name) || (snapshot.get(name) !== undefined && !removed.has(name)),
    (prefix) => {
      const existing = snapshot.startingWith(prefix).find((ref) => !removed.has(ref.name));
      return existing?.name ?? below.get(prefix);
    },
  );
  return conflict === undefined
    ? undefined
    : { code: "name-conflict", reason: `'${conflict}' exists; cannot create '${update.name}'` };
}

interface SortedUpdates {
  readonly made: ReadonlySet<string>;
  readonly removed: ReadonlySet<string>;
  /** For each directory, a ref that the transaction makes below it. */
  readonly below: ReadonlyMap<string, string>;
}

/** Computed once a transaction: with thousands of updates looking again for each would cost the square. */
const sorted = new WeakMap<readonly RefUpdate[], SortedUpdates>();

function sortUpdates(updates: readonly RefUpdate[]): SortedUpdates {
  const known = sorted.get(updates);
  if (known !== undefined) return known;
  const made = new Set<string>();
  const below = new Map<string, string>();
  for (const { name, newOid } of updates) {
    if (newOid === null) continue;
    made.add(name);
    for (let slash = name.lastIndexOf("/"); slash > 4; slash = name.lastIndexOf("/", slash - 1)) {
      below.set(name.slice(0, slash + 1), name);
    }
  }
  const result = { made, removed: new Set(updates.filter((u) => u.newOid === null).map((u) => u.name)), below };
  sorted.set(updates, result);
  return result;
}

/** In an atomic transaction one refusal is everybody's. */
export function settleAtomic(transaction: RefTransaction, refusals: (Refusal | undefined)[]): void {
  if (!transaction.atomic || refusals.every((refusal) => refusal === undefined)) return;
  for (let i = 0; i < refusals.length; i++) {
    refusals[i] ??= { code: "aborted", reason: "atomic transaction failed" };
  }
}

export function formatResults(transaction: RefTransaction, refusals: readonly (Refusal | undefined)[]): RefUpdateResult[] {
  return transaction.updates.map(({ name }, i) => {
    const refusal = refusals[i];
    return refusal === undefined ? { name, ok: true } : { name, ok: false, ...refusal };
  });
}
