/** What a quarantine changes of the list of shallow commits, which is the same in every backend. */
import type { ObjectId } from "../object/object-id.js";

export interface ShallowChange {
  readonly added: ReadonlySet<ObjectId>;
  /** None of `added`. */
  readonly removed: ReadonlySet<ObjectId>;
}

export const NO_SHALLOW_CHANGE: ShallowChange = { added: new Set(), removed: new Set() };

/** Gathered while a quarantine is open: what was said last counts. */
export class ShallowEdits implements ShallowChange {
  readonly added = new Set<ObjectId>();
  readonly removed = new Set<ObjectId>();

  add(oids: Iterable<ObjectId>): void {
    for (const oid of oids) {
      this.removed.delete(oid);
      this.added.add(oid);
    }
  }

  remove(oids: Iterable<ObjectId>): void {
    for (const oid of oids) {
      this.added.delete(oid);
      this.removed.add(oid);
    }
  }
}

export function isNoChange({ added, removed }: ShallowChange): boolean {
  return added.size === 0 && removed.size === 0;
}

/** The same set where nothing is changed. */
export function changeShallow(before: ReadonlySet<ObjectId>, change: ShallowChange): ReadonlySet<ObjectId> {
  if (isNoChange(change)) return before;
  const after = new Set(before);
  for (const oid of change.added) after.add(oid);
  for (const oid of change.removed) after.delete(oid);
  return after;
}

/** One after the other. */
export function joinShallow(changes: Iterable<ShallowChange>): ShallowChange {
  const edits = new ShallowEdits();
  for (const { added, removed } of changes) {
    edits.add(added);
    edits.remove(removed);
  }
  return edits;
}
