/** Several tables as one: what a newer table says counts. Specification: technical/reftable, "Compaction". */
import { logKey, type LogRecord, type RefRecord } from "./records.js";
import { sortTexts } from "./table-text.js";

export interface MergeOptions {
  /** There are no older tables below these: deletions have nothing left to delete. */
  readonly dropDeletions: boolean;
}

/** @param tables oldest first. @returns sorted by name */
export function mergeRefs(
  tables: readonly (readonly RefRecord[])[],
  { dropDeletions }: MergeOptions,
): readonly RefRecord[] {
  const byName = new Map<string, RefRecord>();
  for (const table of tables) for (const record of table) byName.set(record.name, record);
  const merged: RefRecord[] = [];
  for (const name of sortTexts([...byName.keys()])) {
    const record = byName.get(name);
    if (record !== undefined && !(dropDeletions && record.value === undefined)) merged.push(record);
  }
  return merged;
}

/** @param tables oldest first. @returns sorted by name and falling update index */
export function mergeLogs(
  tables: readonly (readonly LogRecord[])[],
  { dropDeletions }: MergeOptions,
): readonly LogRecord[] {
  const byKey = new Map<string, LogRecord>();
  for (const table of tables) {
    for (const record of table) byKey.set(logKey(record.name, record.updateIndex).toString("latin1"), record);
  }
  const merged: LogRecord[] = [];
  // A character a byte: the order of the text is that of the bytes.
  for (const key of [...byKey.keys()].sort()) {
    const record = byKey.get(key);
    if (record !== undefined && !(dropDeletions && record.entry === undefined)) merged.push(record);
  }
  return merged;
}

/**
 * Which tables to compact so that each is at least twice as large as the next one: [start, end), empty when they are
 * already. Specification: technical/reftable; the same choice as git's.
 * @param sizes in bytes, oldest first
 */
export function chooseCompaction(
  sizes: readonly number[],
  factor = 2,
): readonly [start: number, end: number] {
  const size = (i: number): number => sizes[i] ?? 0;
  let end = sizes.length - 1;
  while (end > 0 && size(end - 1) >= size(end) * factor) end--;
  if (end <= 0) return [0, 0];
  let start = end;
  let sum = size(end);
  for (let i = end; i > 0; i--) {
    if (size(i - 1) < sum * factor) start = i - 1;
    sum += size(i - 1);
  }
  return [start, end + 1];
}
