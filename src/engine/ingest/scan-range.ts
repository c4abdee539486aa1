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
import { InflateScratch, scanEntry, type ScanOptions } from "./scan-entry.js";
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

/** The columns while they grow: plain arrays of millions of numbers would be copied and collected again and again. */
class Rows {
  count = 0;
  #capacity = 4096;
  readonly #hashBytes: number;
  readonly baseOids: string[] = [];
  #offsets = new Float64Array(this.#capacity);
  #headLengths = new Uint8Array(this.#capacity);
  #crc32s = new Uint32Array(this.#capacity);
  #types = new Uint8Array(this.#capacity);
  #sizes = new Uint32Array(this.#capacity);
  #resultSizes = new Uint32Array(this.#capacity);
  #baseOffsets = new Float64Array(this.#capacity);
  #clean = new Uint8Array(this.#capacity);
  #oids: Uint8Array;

  constructor(hashBytes: number) {
    this.#hashBytes = hashBytes;
    this.#oids = new Uint8Array(this.#capacity * hashBytes);
  }

  /** With room for the id of the next entry. */
  get oids(): Uint8Array {
    if (this.count === this.#capacity) this.#grow();
    return this.#oids;
  }

  add(entry: EntryFacts, offset: number, crc: number, clean: boolean): void {
    if (this.count === this.#capacity) this.#grow();
    const row = this.count++;
    this.#offsets[row] = offset;
    this.#headLengths[row] = entry.headLength;
    this.#crc32s[row] = crc;
    this.#types[row] = entry.type;
    this.#sizes[row] = entry.sizeBytes;
    this.#resultSizes[row] = entry.resultSizeBytes;
    this.#baseOffsets[row] = entry.baseOffset ?? 0;
    this.#clean[row] = clean ? 1 : 0;
    if (entry.baseOid !== undefined) this.baseOids.push(entry.baseOid);
  }

  #grow(): void {
    const capacity = (this.#capacity *= 2);
    this.#offsets = copyInto(new Float64Array(capacity), this.#offsets);
    this.#headLengths = copyInto(new Uint8Array(capacity), this.#headLengths);
    this.#crc32s = copyInto(new Uint32Array(capacity), this.#crc32s);
    this.#types = copyInto(new Uint8Array(capacity), this.#types);
    this.#sizes = copyInto(new Uint32Array(capacity), this.#sizes);
    this.#resultSizes = copyInto(new Uint32Array(capacity), this.#resultSizes);
    this.#baseOffsets = copyInto(new Float64Array(capacity), this.#baseOffsets);
    this.#clean = copyInto(new Uint8Array(capacity), this.#clean);
    this.#oids = copyInto(new Uint8Array(capacity * this.#hashBytes), this.#oids);
  }

  /** Copies of just the size: a view across threads would carry all of its buffer. */
  columns(): Omit<ScannedRange, "end" | "found"> {
    const { count } = this;
    const h = this.#hashBytes;
    const baseOids = Buffer.alloc(this.baseOids.length * h);
    this.baseOids.forEach((oid, i) => baseOids.write(oid, i * h, "hex"));
    return {
      count,
      offsets: this.#offsets.slice(0, count),
      headLengths: this.#headLengths.slice(0, count),
      crc32s: this.#crc32s.slice(0, count),
      types: this.#types.slice(0, count),
      sizes: this.#sizes.slice(0, count),
      resultSizes: this.#resultSizes.slice(0, count),
      baseOffsets: this.#baseOffsets.slice(0, count),
      baseOids,
      clean: this.#clean.slice(0, count),
      oids: this.#oids.slice(0, count * h),
    };
  }
}

interface EntryFacts {
  readonly type: number;
  readonly headLength: number;
  readonly sizeBytes: number;
  readonly resultSizeBytes: number;
  readonly baseOffset: number | undefined;
  readonly baseOid?: string | undefined;
}

function copyInto<Column extends { set(from: Column): void }>(to: Column, from: Column): Column {
  to.set(from);
  return to;
}

export async function scanRange(
  spool: Spool,
  examiner: ObjectExaminer,
  existing: ExistingObjects | undefined,
  options: ScanRangeOptions,
): Promise<ScannedRange> {
  const { from, entriesMax, bytesMax } = options;
  const rows = new Rows(hashBytes(options.objectFormat));
  const entryOptions = { ...options, scratch: new InflateScratch() };
  let window = Buffer.allocUnsafeSlow(WINDOW_BYTES);
  /** window[0] stands at `start` in the pack; `have` bytes of it are there. */
  let start = from;
  let have = spool.read(window, 0, window.length, start);
  let filled = window.subarray(0, have);
  let at = 0;
  const refill = (): void => {
    window.copy(window, 0, at, have);
    start += at;
    have -= at;
    at = 0;
    have += spool.read(window, have, window.length - have, start + have);
    filled = window.subarray(0, have);
  };
  while (rows.count < entriesMax && start + at - from < bytesMax) {
    if (have - at < REFILL_BYTES && start + have < spool.sizeBytes) refill();
    const offset = start + at;
    const entry = scanEntry(filled, at, offset, entryOptions);
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
      rows.add({ ...entry, ...found, headLength: entry.headerLength }, offset, found.crc32, false);
      start = found.end;
      at = 0;
      have = spool.read(window, 0, window.length, start);
      filled = window.subarray(0, have);
      continue;
    }
    const clean =
      entry.type < OFS_DELTA && examiner.examine(entry.type as Kind, entry.data, rows.oids, rows.count);
    rows.add(entry, offset, crc32(filled.subarray(at, entry.end)), clean);
    at = entry.end;
  }
  return { ...rows.columns(), end: start + at, found: examiner.take() };
}
