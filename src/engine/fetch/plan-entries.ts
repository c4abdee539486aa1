/**
 * The stored entries of the objects that are to be sent, in the order in which they will stand in the reply, with
 * what their pack says about each: columns, one row an entry.
 */
import { GitwharfError } from "../../base/errors.js";
import { isPromise } from "../../base/maybe-promise.js";
import { parseEntryHeader } from "../../pack/entry-header.js";
import type { Pack } from "../../pack/pack.js";
import { hashBytes } from "../../object/object-format.js";
import type { ObjectSpace } from "./object-space.js";
import type { OrdinalSet } from "./ordinal-set.js";
import type { WorkBudget } from "./work-budget.js";

/** No delta. */
export const NO_BASE = -1;
/** The base is not among the rows; `baseOrdinals` names it. */
export const BASE_ELSEWHERE = -2;

export interface PlanEntries {
  readonly count: number;
  /** Number of the pack in the space. */
  readonly packs: Int32Array;
  /** The entry's bytes in its pack: [start, end). */
  readonly starts: Float64Array;
  readonly ends: Float64Array;
  /** 1..4, 6 or 7, as stored. */
  readonly types: Uint8Array;
  readonly headerLengths: Uint8Array;
  /** Inflated size of what is stored (of the delta, for a delta). */
  readonly sizes: Float64Array;
  /** Row of the base, `NO_BASE` or `BASE_ELSEWHERE`. */
  readonly bases: Int32Array;
  readonly baseOrdinals: Float64Array;
  /** Rows of each pack of the space: [firstRow, endRow); rows of one pack are in order of offset. */
  readonly rows: readonly { readonly first: number; readonly end: number }[];
  /** The row of an ordinal, −1 when it has none. */
  rowOf(ordinal: number): number;
  ordinalOf(row: number): number;
}

const WINDOW_BYTES = 1024 * 1024;
/** Rows of one pack from which on its bytes are read in large windows. */
const MANY_ROWS = 4000;

/** Rows for every chosen object in a pack, except those of packs in `whole`. */
export async function readEntries(
  space: ObjectSpace,
  chosen: OrdinalSet,
  whole: ReadonlySet<number>,
  budget: WorkBudget,
): Promise<PlanEntries> {
  const perPack = space.packs.map((pack, k) =>
    whole.has(k) ? new Float64Array(0) : chosenOffsets(space, k, pack, chosen),
  );
  const count = perPack.reduce((sum, offsets) => sum + offsets.length, 0);
  const columns = {
    packs: new Int32Array(count),
    starts: new Float64Array(count),
    ends: new Float64Array(count),
    types: new Uint8Array(count),
    headerLengths: new Uint8Array(count),
    sizes: new Float64Array(count),
    bases: new Int32Array(count).fill(NO_BASE),
    baseOrdinals: new Float64Array(count).fill(-1),
  };
  const rows: { first: number; end: number }[] = [];
  let first = 0;
  for (const [k, offsets] of perPack.entries()) {
    columns.starts.set(offsets, first);
    columns.packs.fill(k, first, first + offsets.length);
    rows.push({ first, end: first + offsets.length });
    first += offsets.length;
  }
  const entries: PlanEntries = {
    count,
    ...columns,
    rows,
    rowOf(ordinal) {
      const k = space.packNumberOf(ordinal);
      if (k < 0) return -1;
      const index = (space.packs[k] as Pack).index;
      return findRow(columns.starts, rows[k], index.offsetAt(ordinal - (space.firsts[k] as number)));
    },
    ordinalOf(row) {
      const k = columns.packs[row] as number;
      const offsets = (space.packs[k] as Pack).offsets;
      const rank = offsets.rankOfOffset(columns.starts[row] as number);
      return (space.firsts[k] as number) + offsets.positionAtRank(rank);
    },
  };
  for (let k = 0; k < rows.length; k++) {
    const { first: from, end } = rows[k] as { first: number; end: number };
    if (end > from) await readRows(entries, space, k, from, end, budget);
  }
  return entries;
}

/** Offsets of the chosen objects of one pack, ascending. */
function chosenOffsets(space: ObjectSpace, k: number, pack: Pack, chosen: OrdinalSet): Float64Array {
  const first = space.firsts[k] as number;
  const { index } = pack;
  const total = index.objectCount;
  const count = chosen.countBetween(first, first + total);
  const found = new Float64Array(count);
  let n = 0;
  if (count > total / 16) {
    const { offsets } = pack;
    for (let rank = 0; rank < total && n < count; rank++) {
      const position = offsets.positionAtRank(rank);
      if (chosen.has(first + position)) found[n++] = index.offsetAt(position);
    }
    return found;
  }
  chosen.forEachBetween(first, first + total, (ordinal) => {
    found[n++] = index.offsetAt(ordinal - first);
  });
  return found.sort();
}

function findRow(
  starts: Float64Array,
  rows: { first: number; end: number } | undefined,
  offset: number,
): number {
  if (rows === undefined) return -1;
  let low = rows.first;
  let high = rows.end - 1;
  while (low <= high) {
    const middle = (low + high) >>> 1;
    const at = starts[middle] as number;
    if (at === offset) return middle;
    if (at < offset) low = middle + 1;
    else high = middle - 1;
  }
  return -1;
}

async function readRows(
  entries: PlanEntries,
  space: ObjectSpace,
  k: number,
  from: number,
  end: number,
  budget: WorkBudget,
): Promise<void> {
  const pack = space.packs[k] as Pack;
  const { offsets } = pack;
  const headBytesMax = 24 + hashBytes(space.objectFormat);
  const many = end - from >= MANY_ROWS;
  const rows = entries.rows[k];
  let window: Buffer = Buffer.alloc(0);
  let windowStart = 0;
  for (let row = from; row < end; row++) {
    if (budget.spend(0.1)) await budget.pause();
    const start = entries.starts[row] as number;
    const entryEnd = offsets.endOffsetOfRank(offsets.rankOfOffset(start));
    entries.ends[row] = entryEnd;
    const needed = Math.min(headBytesMax, pack.bytes.sizeBytes - start);
    if (start + needed > windowStart + window.length || start < windowStart) {
      const read = pack.bytes.read(start, many ? WINDOW_BYTES : needed);
      window = isPromise(read) ? await read : read;
      windowStart = start;
    }
    const head = parseEntryHeader(window, start - windowStart, space.objectFormat);
    if (head === undefined) throw cutEntry(pack, start);
    entries.types[row] = head.type;
    entries.headerLengths[row] = head.headerLength;
    entries.sizes[row] = head.sizeBytes;
    if (head.baseOffsetDistance !== undefined) {
      const baseOffset = start - head.baseOffsetDistance;
      const base = findRow(entries.starts, rows, baseOffset);
      entries.bases[row] = base >= 0 ? base : BASE_ELSEWHERE;
      if (base < 0) {
        const rank = offsets.rankOfOffset(baseOffset);
        // The index is the judge of what a pack holds; a base that it does not list is the reader's trouble later.
        const position = rank < 0 ? -1 : offsets.positionAtRank(rank);
        entries.baseOrdinals[row] = position < 0 ? -1 : canonical(space, k, position);
      }
    } else if (head.baseOid !== undefined) {
      entries.bases[row] = BASE_ELSEWHERE;
      entries.baseOrdinals[row] = space.ordinalOf(head.baseOid);
    }
    if (entries.bases[row] === BASE_ELSEWHERE && (entries.baseOrdinals[row] as number) >= 0) {
      const base = entries.rowOf(entries.baseOrdinals[row] as number);
      if (base >= 0) entries.bases[row] = base;
    }
  }
}

function cutEntry(pack: Pack, offset: number): GitwharfError {
  return new GitwharfError(
    "object/corrupt",
    `pack ${pack.name} ends inside its entry at ${offset}; run 'gitwharf fsck'`,
  );
}

/** The ordinal of an object that stands at a position of pack `k`, which may not be its first copy. */
function canonical(space: ObjectSpace, k: number, position: number): number {
  if (k === 0) return position;
  return space.ordinalOf((space.packs[k] as Pack).index.oidAt(position));
}
