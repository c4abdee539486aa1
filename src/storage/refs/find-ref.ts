/** Finding a ref by name in a sorted list that does not change: by halves at first, by a table when it pays. */
import type { Ref } from "../contracts/ref-store.js";
import { lowerBound } from "./ref-order.js";

interface Finder {
  lookups: number;
  table: ReadonlyMap<string, Ref> | undefined;
}

/** After so many look-ups the table pays for itself. */
const LOOKUPS_BEFORE_TABLE = 512;
const finders = new WeakMap<readonly Ref[], Finder>();

export function findRef(refs: readonly Ref[], name: string): Ref | undefined {
  if (refs.length === 0) return undefined;
  let finder = finders.get(refs);
  if (finder === undefined) {
    finder = { lookups: 0, table: undefined };
    finders.set(refs, finder);
  }
  if (finder.table !== undefined) return finder.table.get(name);
  if (++finder.lookups > LOOKUPS_BEFORE_TABLE) finder.table = new Map(refs.map((ref) => [ref.name, ref]));
  const ref = refs[lowerBound(refs, name)];
  return ref?.name === name ? ref : undefined;
}
