/** Compare-and-swap, and names that exclude each other: what every store checks with its locks held. */
import type { ObjectId } from "../../object/object-id.js";
import type { RefUpdate } from "../contracts/ref-store.js";
import { findRef } from "./find-ref.js";
import { isDeletion, type PlannedUpdate } from "./planned-update.js";
import { prefixRange } from "./ref-order.js";
import { brokenRef, nameConflict, REFUSALS, type Refusal, type Refusals } from "./ref-refusal.js";
import { type RefState, type RefValue, resolveRef, valueIn } from "./ref-state.js";

/**
 * @param name the ref that changes
 * @param value what it says now
 * @param oid where it leads now, symbolic refs followed
 */
export function checkOldValue(
  update: RefUpdate,
  name: string,
  value: RefValue | undefined,
  oid: ObjectId | undefined,
): Refusal | undefined {
  const { oldOid } = update;
  if (oldOid === null) return value === undefined ? undefined : REFUSALS.exists;
  if (
    value?.kind === "broken" &&
    (oldOid !== undefined || !(isDeletion(update) || update.symbolicTarget !== undefined))
  ) {
    return brokenRef(name);
  }
  if (oldOid === undefined || oldOid === oid) return undefined;
  return oid === undefined ? REFUSALS.missing : REFUSALS.stale;
}

/**
 * A ref cannot be the directory of another: `refs/heads/a` excludes `refs/heads/a/b`. Reftables could hold both, but
 * git refuses it there too.
 */
export class NameConflicts {
  readonly #exists: (name: string) => boolean;
  readonly #below: (prefix: string) => string | undefined;
  readonly #made = new Set<string>();
  readonly #madeBelow = new Map<string, string>();

  /** @param existing the names that are taken; refs that the transaction deletes count as taken, as in git */
  constructor(existing: { has(name: string): boolean; below(prefix: string): string | undefined }) {
    this.#exists = (name) => existing.has(name);
    this.#below = (prefix) => existing.below(prefix);
  }

  /** Takes the name for a new ref, unless it is in conflict. */
  take(name: string): Refusal | undefined {
    for (let slash = name.indexOf("/", 5); slash > 0; slash = name.indexOf("/", slash + 1)) {
      const directory = name.slice(0, slash);
      if (this.#exists(directory)) return conflictWith(directory, name);
      if (this.#made.has(directory)) return bothAtOnce(directory, name);
    }
    const below = this.#below(`${name}/`);
    if (below !== undefined) return conflictWith(below, name);
    const madeBelow = this.#madeBelow.get(name);
    if (madeBelow !== undefined) return bothAtOnce(madeBelow, name);
    this.#made.add(name);
    for (let slash = name.lastIndexOf("/"); slash > 4; slash = name.lastIndexOf("/", slash - 1)) {
      const directory = name.slice(0, slash);
      if (this.#madeBelow.has(directory)) break;
      this.#madeBelow.set(directory, name);
    }
    return undefined;
  }
}

export function conflictWith(existing: string, name: string): Refusal {
  return nameConflict(`'${existing}' exists; cannot create '${name}'`);
}

function bothAtOnce(a: string, b: string): Refusal {
  return nameConflict(`cannot process '${a}' and '${b}' at the same time`);
}

/** The names of a state, for `NameConflicts`. */
export function takenNames(state: RefState): {
  has(name: string): boolean;
  below(prefix: string): string | undefined;
} {
  const others = [...state.symbolic.keys(), ...state.broken];
  return {
    has: (name) =>
      findRef(state.direct, name) !== undefined || state.symbolic.has(name) || state.broken.has(name),
    below: (prefix) => {
      const [start, end] = prefixRange(state.direct, prefix);
      return start < end ? state.direct[start]?.name : others.find((name) => name.startsWith(prefix));
    },
  };
}

/** Checks updates against a state that cannot change meanwhile, and writes down who is refused. */
export function checkUpdates(plans: readonly PlannedUpdate[], refusals: Refusals, state: RefState): void {
  const conflicts = new NameConflicts(takenNames(state));
  for (const { index, update, name } of plans) {
    if (refusals[index] !== undefined) continue;
    const value = valueIn(state, name);
    const oid = oidOf(state, name);
    refusals[index] = checkOldValue(update, name, value, oid);
    if (refusals[index] === undefined && value === undefined && !isDeletion(update))
      refusals[index] = conflicts.take(name);
  }
}

export function oidOf(state: RefState, name: string): ObjectId | undefined {
  const { value } = resolveRef(name, (at) => valueIn(state, at));
  return value?.kind === "direct" ? value.ref.oid : undefined;
}
