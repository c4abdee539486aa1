/**
 * What is left to decide when all families are resolved: whether every delta found its base, and which bases of the
 * repository must be added so that the pack stands on its own.
 */
import { GitwharfError } from "../../base/errors.js";
import { hashBytes } from "../../object/object-format.js";
import { objectIdAt } from "../../object/object-id.js";
import { OFS_DELTA } from "../../pack/entry-header.js";
import type { DeltaForest } from "./delta-forest.js";
import { EXTERNAL, type EntryTable } from "./entry-table.js";
import type { SettleAnswer } from "./ingest-task.js";
import { LinkSet } from "./link-set.js";

/** @throws pack/bad-delta when deltas of the pack would build on each other in a circle */
export function settleForest(table: EntryTable, forest: DeltaForest): SettleAnswer {
  const { entryCount, externalCount } = forest;
  let unresolvedCount = 0;
  for (let i = 0; i < entryCount; i++) if (table.kinds[i] === 0) unresolvedCount++;
  if (unresolvedCount > 0)
    return { unresolvedCount, missingBaseOid: missingBase(table, forest), missing: [] };
  const producers = findProducers(table, forest);
  if (producers.size > 0) refuseCircles(table, entryCount, producers);
  const missing: number[] = [];
  for (let k = 0; k < externalCount; k++) if (!producers.has(k)) missing.push(k);
  return { unresolvedCount: 0, missingBaseOid: undefined, missing };
}

function missingBase(table: EntryTable, forest: DeltaForest): string | undefined {
  const group = forest.groupTaken.indexOf(0);
  if (group < 0) return undefined;
  const { buffer, byteOffset, length } = forest.groupOids;
  return objectIdAt(
    Buffer.from(buffer, byteOffset, length),
    group * hashBytes(table.objectFormat),
    table.objectFormat,
  );
}

/** Entries of the pack that turned out to be an external base themselves: its number → entry. */
function findProducers(table: EntryTable, forest: DeltaForest): Map<number, number> {
  const producers = new Map<number, number>();
  if (forest.externalCount === 0) return producers;
  const h = hashBytes(table.objectFormat);
  const externals = new LinkSet(h);
  for (let k = 0; k < forest.externalCount; k++) externals.add(forest.externalOids, k * h, 1);
  for (let i = 0; i < forest.entryCount; i++) {
    const k = externals.find(table.oids, i * h);
    if (k >= 0 && !producers.has(k)) producers.set(k, i);
  }
  return producers;
}

/**
 * A base that is not added is found in the pack by its id: then it must not, in some steps, be built on itself.
 * The content was resolved from the repository's copy, so this is only about how the pack can be read later.
 */
function refuseCircles(table: EntryTable, count: number, producers: ReadonlyMap<number, number>): void {
  /** 0: not looked at; 1: on the way; 2: leads to a whole object. */
  const state = new Uint8Array(count);
  const way: number[] = [];
  for (let start = 0; start < count; start++) {
    way.length = 0;
    for (let entry = start; state[entry] !== 2; ) {
      if (state[entry] === 1) {
        const message = `the deltas of the pack build on each other in a circle, at offset ${table.offsets[entry]}`;
        throw new GitwharfError("pack/bad-delta", message);
      }
      state[entry] = 1;
      way.push(entry);
      const isDelta = (table.types[entry] as number) >= OFS_DELTA;
      const base = table.bases[entry] as number;
      if (!isDelta || base < 0) break;
      // A base that is added is a whole object.
      const next = base >= EXTERNAL ? producers.get(base - EXTERNAL) : base;
      if (next === undefined) break;
      entry = next;
    }
    for (const entry of way) state[entry] = 2;
  }
}
