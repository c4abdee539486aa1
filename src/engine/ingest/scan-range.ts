/**
 * Scans as many whole entries as a spooled pack holds from some offset on: the first pass over a large pack, for a
 * worker thread. It begins and ends at the boundary of an entry, so that no thread is held while bytes are awaited.
 */
import { crc32 } from "node:zlib";
import { hashBytes } from "../../object/object-format.js";
import { OFS_DELTA } from "../../pack/entry-header.js";
import type { ExistingObjects } from "./existing-objects.js";
import type { Kind } from "./link-set.js";
import type { Examined, ObjectExaminer } from "./object-examiner.js";
import { scanEntry, type ScanOptions } from "./scan-entry.js";
import { scanLargeEntry } from "./scan-large-entry.js";
import type { Spool } from "./spool.js";

/** The entries that one scan found, column by column (see `entry-table.ts`). */
export interface ScannedRange {
  readonly count: number;
  /** Where the last whole entry ends. */
  readonly end: number;
  readonly offsets: Float64Array;
  readonly headLengths: Uint8Array;
  readonly crc32s: Uint32Array;
  readonly types: Uint8Array;
  readonly sizes: Uint32Array;
  readonly resultSizes: Uint32Array;
  /** Absolute offset of an OFS_DELTA's base, 0 for other entries. */
  readonly baseOffsets: Float64Array;
  /** Raw ids of the bases of the REF_DELTA entries, in order. */
  readonly baseOids: Uint8Array;
  readonly clean: Uint8Array;
  /** Raw ids, zeros for deltas. */
  readonly oids: Uint8Array;
  readonly found: Examined;
}

export interface ScanRangeOptions extends ScanOptions {
  readonly from: number;
  /** At most so many entries. */
  readonly entriesMax: number;
  /** Stops at the first boundary behind so many bytes. */
  readonly bytesMax: number;
}

const WINDOW_BYTES = 1024 * 1024;
/** Below this many bytes the window is filled again before the next entry. */
const REFILL_BYTES = 64 * 1024;

class Rows {
  readonly offsets: number[] = [];
  readonly headLengths: number[] = [];
  readonly crc32s: number[] = [];
  readonly types: number[] = [];
  readonly sizes: number[] = [];
  readonly resultSizes: number[] = [];
  readonly baseOffsets: number[] = [];
  readonly baseOids: string[] = [];
  readonly clean: number[] = [];
  oids: Uint8Array;
  readonly #hashBytes: number;

  constructor(h: number) {
    this.#hashBytes = h;
    this.oids = new Uint8Array(4096 * h);
  }

  get count(): number {
    return this.types.length;
  }

  /** Room for the id of the next entry. */
  reserveOid(): void {
    if ((this.count + 1) * this.#hashBytes <= this.oids.length) return;
    const grown = new Uint8Array(this.oids.length * 2);
    grown.set(this.oids);
    this.oids = grown;
  }
}

export async function scanRange(
  spool: Spool,
  examiner: ObjectExaminer,
  existing: ExistingObjects | undefined,
  options: ScanRangeOptions,
): Promise<ScannedRange> {
  const { from, entriesMax, bytesMax } = options;
  const rows = new Rows(hashBytes(options.objectFormat));
  let window = Buffer.allocUnsafeSlow(WINDOW_BYTES);
  /** window[0] stands at `start` in the pack; `have` bytes of it are there. */
  let start = from;
  let have = spool.read(window, 0, window.length, start);
  let at = 0;
  const refill = (): void => {
    window.copy(window, 0, at, have);
    start += at;
    have -= at;
    at = 0;
    have += spool.read(window, have, window.length - have, start + have);
  };
  while (rows.count < entriesMax && start + at - from < bytesMax) {
    if (have - at < REFILL_BYTES && start + have < spool.sizeBytes) refill();
    const offset = start + at;
    const entry = scanEntry(window.subarray(0, have), at, offset, options);
    if (entry === "short") {
      if (start + have >= spool.sizeBytes) break;
      if (at > 0) refill();
      else {
        const wider = Buffer.allocUnsafeSlow(window.length * 2);
        window.copy(wider, 0, 0, have);
        window = wider;
        refill();
      }
      continue;
    }
    rows.reserveOid();
    if ("large" in entry) {
      const { oids, count } = rows;
      const found = await scanLargeEntry(spool, entry, offset, {
        examiner,
        existing,
        options,
        oids,
        index: count,
      });
      if (found === undefined) break;
      addRow(rows, { ...entry, ...found, headLength: entry.headerLength, clean: false }, offset, found.crc32);
      start = found.end;
      at = 0;
      have = spool.read(window, 0, window.length, start);
      continue;
    }
    const clean =
      entry.type < OFS_DELTA && examiner.examine(entry.type as Kind, entry.data, rows.oids, rows.count);
    addRow(rows, { ...entry, clean }, offset, crc32(window.subarray(at, entry.end)));
    at = entry.end;
  }
  return collect(rows, start + at, examiner, options);
}

interface EntryFacts {
  readonly type: number;
  readonly sizeBytes: number;
  readonly resultSizeBytes: number;
  readonly baseOffset: number | undefined;
  readonly baseOid?: string | undefined;
  readonly headLength: number;
  readonly clean: boolean;
}

function addRow(rows: Rows, entry: EntryFacts, offset: number, crc: number): void {
  rows.offsets.push(offset);
  rows.headLengths.push(entry.headLength);
  rows.crc32s.push(crc);
  rows.sizes.push(entry.sizeBytes);
  rows.resultSizes.push(entry.resultSizeBytes);
  rows.baseOffsets.push(entry.baseOffset ?? 0);
  if (entry.baseOid !== undefined) rows.baseOids.push(entry.baseOid);
  rows.clean.push(entry.clean ? 1 : 0);
  rows.types.push(entry.type);
}

function collect(
  rows: Rows,
  end: number,
  examiner: ObjectExaminer,
  { objectFormat }: ScanRangeOptions,
): ScannedRange {
  const { count } = rows;
  const h = hashBytes(objectFormat);
  const baseOids = Buffer.alloc(rows.baseOids.length * h);
  rows.baseOids.forEach((oid, i) => baseOids.write(oid, i * h, "hex"));
  return {
    count,
    end,
    offsets: Float64Array.from(rows.offsets),
    headLengths: Uint8Array.from(rows.headLengths),
    crc32s: Uint32Array.from(rows.crc32s),
    types: Uint8Array.from(rows.types),
    sizes: Uint32Array.from(rows.sizes),
    resultSizes: Uint32Array.from(rows.resultSizes),
    baseOffsets: Float64Array.from(rows.baseOffsets),
    baseOids,
    clean: Uint8Array.from(rows.clean),
    oids: rows.oids.slice(0, count * h),
    found: examiner.take(),
  };
}
