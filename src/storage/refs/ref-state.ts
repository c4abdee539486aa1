/**
 * Refs as they are stored, before symbolic refs are followed: an immutable value that every store keeps, changes by
 * making another, and turns into the snapshot that readers get.
 */
import type { ObjectId } from "../../object/object-id.js";
import type { Ref } from "../contracts/ref-store.js";
import { findRef } from "./find-ref.js";
import { compareRefNames, lowerBound } from "./ref-order.js";

/** What one ref says. `broken`: there is something of that name that says nothing usable. */
export type RefValue =
  | { readonly kind: "direct"; readonly ref: Ref }
  | { readonly kind: "symbolic"; readonly target: string }
  | { readonly kind: "broken" };

export const BROKEN: RefValue = { kind: "broken" };

export interface RefState {
  /** `direct` (detached) or `symbolic`. */
  readonly head: RefValue;
  /** Refs with an id of their own, sorted by name. */
  readonly direct: readonly Ref[];
  /** Target by name. */
  readonly symbolic: ReadonlyMap<string, string>;
  readonly broken: ReadonlySet<string>;
}

/** git follows this many symbolic refs and no more. */
const SYMBOLIC_DEPTH_MAX = 5;

export function directValue(name: string, oid: ObjectId): RefValue {
  return { kind: "direct", ref: { name, oid } };
}

export function sameRefValue(a: RefValue | undefined, b: RefValue | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  switch (a.kind) {
    case "direct":
      return b.kind === "direct" && a.ref.oid === b.ref.oid;
    case "symbolic":
      return b.kind === "symbolic" && a.target === b.target;
    case "broken":
      return b.kind === "broken";
  }
}

/** Whether all refs say the same. */
export function sameRefState(a: RefState, b: RefState): boolean {
  if (a === b) return true;
  return (
    sameRefValue(a.head, b.head) &&
    a.direct.length === b.direct.length &&
    a.symbolic.size === b.symbolic.size &&
    a.broken.size === b.broken.size &&
    a.direct.every((ref, i) => ref === b.direct[i] || sameRef(ref, b.direct[i])) &&
    [...a.symbolic].every(([name, target]) => b.symbolic.get(name) === target) &&
    [...a.broken].every((name) => b.broken.has(name))
  );
}

function sameRef(a: Ref, b: Ref | undefined): boolean {
  return a.name === b?.name && a.oid === b.oid && a.peeled === b.peeled;
}

export function valueIn(state: RefState, name: string): RefValue | undefined {
  if (name === "HEAD") return state.head;
  const target = state.symbolic.get(name);
  if (target !== undefined) return { kind: "symbolic", target };
  const ref = findRef(state.direct, name);
  if (ref !== undefined) return { kind: "direct", ref };
  return state.broken.has(name) ? BROKEN : undefined;
}

/** The state after some refs got other values; `undefined` removes. HEAD is changed by its name. */
export function changeRefState(
  state: RefState,
  changes: ReadonlyMap<string, RefValue | undefined>,
): RefState {
  if (changes.size === 0) return state;
  const symbolic = new Map(state.symbolic);
  const broken = new Set(state.broken);
  let head = state.head;
  const directChanges: (readonly [string, Ref | undefined])[] = [];
  for (const [name, value] of changes) {
    if (name === "HEAD") {
      if (value !== undefined) head = value;
      continue;
    }
    symbolic.delete(name);
    broken.delete(name);
    if (value?.kind === "symbolic") symbolic.set(name, value.target);
    else if (value?.kind === "broken") broken.add(name);
    directChanges.push([name, value?.kind === "direct" ? value.ref : undefined]);
  }
  return { head, direct: changeSorted(state.direct, directChanges), symbolic, broken };
}

function changeSorted(refs: readonly Ref[], changes: (readonly [string, Ref | undefined])[]): readonly Ref[] {
  changes.sort((a, b) => compareRefNames(a[0], b[0]));
  const changed: Ref[] = [];
  let at = 0;
  for (const [name, ref] of changes) {
    const to = lowerBound(refs, name, at);
    for (; at < to; at++) changed.push(refs[at] as Ref);
    if (refs[at]?.name === name) at++;
    if (ref !== undefined) changed.push(ref);
  }
  if (at === 0) return changed.length === 0 ? refs : [...changed, ...refs];
  for (; at < refs.length; at++) changed.push(refs[at] as Ref);
  return changed;
}

export interface Resolution {
  /** The ref at the end; it need not exist. */
  readonly name: string;
  /** `symbolic` only when there are too many steps or a loop. */
  readonly value: RefValue | undefined;
  /** The symbolic refs on the way, in order. */
  readonly through: readonly string[];
}

/** Follows symbolic refs. @param read what a ref says */
export function resolveRef(name: string, read: (name: string) => RefValue | undefined): Resolution {
  const through: string[] = [];
  let at = name;
  let value = read(at);
  while (value?.kind === "symbolic" && through.length < SYMBOLIC_DEPTH_MAX) {
    through.push(at);
    at = value.target;
    value = read(at);
  }
  return { name: at, value, through };
}
