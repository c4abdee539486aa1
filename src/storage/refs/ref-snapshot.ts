/** What readers get: refs of one instant, symbolic refs followed, found by binary search. */
import type { Head, Ref, RefSnapshot } from "../contracts/ref-store.js";
import { findRef } from "./find-ref.js";
import { compareRefNames, lowerBound, prefixRange } from "./ref-order.js";
import { type RefState, resolveRef, valueIn } from "./ref-state.js";

export function createRefSnapshot(state: RefState, version: string): RefSnapshot {
  const broken = [...state.broken];
  const followed: Ref[] = [];
  for (const [name, symbolicTarget] of state.symbolic) {
    const { value } = resolveRef(name, (at) => valueIn(state, at));
    if (value?.kind === "direct") followed.push({ ...value.ref, name, symbolicTarget });
    else broken.push(name);
  }
  return new StateSnapshot(
    headOf(state),
    merge(state.direct, followed),
    broken.sort(compareRefNames),
    version,
  );
}

function headOf(state: RefState): Head {
  const { value } = resolveRef("HEAD", (name) => valueIn(state, name));
  return {
    ...(state.head.kind === "symbolic" ? { symbolicTarget: state.head.target } : {}),
    ...(value?.kind === "direct" ? { oid: value.ref.oid } : {}),
  };
}

/** Both hold each name once, and no name is in both. */
function merge(direct: readonly Ref[], followed: Ref[]): readonly Ref[] {
  if (followed.length === 0) return direct;
  followed.sort((a, b) => compareRefNames(a.name, b.name));
  const all: Ref[] = [];
  let at = 0;
  for (const ref of followed) {
    const to = lowerBound(direct, ref.name, at);
    for (; at < to; at++) all.push(direct[at] as Ref);
    all.push(ref);
  }
  for (; at < direct.length; at++) all.push(direct[at] as Ref);
  return all;
}

class StateSnapshot implements RefSnapshot {
  readonly head: Head;
  readonly all: readonly Ref[];
  readonly broken: readonly string[];
  readonly version: string;

  constructor(head: Head, all: readonly Ref[], broken: readonly string[], version: string) {
    this.head = head;
    this.all = all;
    this.broken = broken;
    this.version = version;
  }

  get(name: string): Ref | undefined {
    return findRef(this.all, name);
  }

  startingWith(prefix: string): readonly Ref[] {
    if (prefix === "") return this.all;
    const [start, end] = prefixRange(this.all, prefix);
    return this.all.slice(start, end);
  }
}
