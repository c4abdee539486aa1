/**
 * Copying entries into the new pack of a fold: as they are stored, deltas with the new distance to their base. Each is
 * held against the CRC-32 in its pack's index first, so that nothing broken is carried on.
 */
import { crc32 } from "node:zlib";
import type { ByteRange } from "../../base/byte-range.js";
import { GitwharfError } from "../../base/errors.js";
import { isPromise } from "../../base/maybe-promise.js";
import {
  ENTRY_HEADER_BYTES_MAX,
  formatEntryHeader,
  OFS_DELTA,
  parseEntryHeader,
} from "../../pack/entry-header.js";
import { AS_STORED, damagedPack, type FoldPlan } from "./fold-plan.js";

const PIECE_BYTES = 1024 * 1024;

/**
 * Rows [from, to), in a thread that may wait for the disk. In memory: the answer.
 * @param sources by number of the plan; those that the rows need
 */
export function copyEntries(
  plan: FoldPlan,
  from: number,
  to: number,
  sources: ReadonlyMap<number, ByteRange>,
): Uint8Array {
  const first = plan.offsets[from] as number;
  const out = Buffer.from(new SharedArrayBuffer((plan.offsets[to] as number) - first));
  for (let row = from; row < to; row++) {
    const start = plan.starts[row] as number;
    const length = (plan.ends[row] as number) - start;
    const stored = sourceOf(plan, row, sources).read(start, length);
    if (isPromise(stored))
      throw new GitwharfError("base/invariant", "entries are copied where bytes are not at hand at once");
    checkStored(plan, row, stored.length, crc32(stored));
    const place = (plan.offsets[row] as number) - first;
    const head = newHead(plan, row, stored);
    if (head === undefined) {
      stored.copy(out, place);
      continue;
    }
    head.bytes.copy(out, place);
    stored.copy(out, place + head.bytes.length, head.storedLength);
    plan.crc32s[row] = crc32(out.subarray(place, place + length - head.storedLength + head.bytes.length));
  }
  return out;
}

/** One entry that is too large for that, piece by piece. */
export async function* copyLargeEntry(
  plan: FoldPlan,
  row: number,
  source: ByteRange,
): AsyncGenerator<Buffer, void, void> {
  const end = plan.ends[row] as number;
  let at = plan.starts[row] as number;
  const beginning = await source.read(at, ENTRY_HEADER_BYTES_MAX);
  const head = newHead(plan, row, beginning);
  let storedCrc = 0;
  let newCrc = 0;
  if (head !== undefined) {
    storedCrc = crc32(beginning.subarray(0, head.storedLength));
    newCrc = crc32(head.bytes);
    at += head.storedLength;
    yield head.bytes;
  }
  while (at < end) {
    const piece = await source.read(at, Math.min(PIECE_BYTES, end - at));
    if (piece.length === 0) break;
    at += piece.length;
    storedCrc = crc32(piece, storedCrc);
    newCrc = crc32(piece, newCrc);
    yield piece;
  }
  checkStored(plan, row, at - (plan.starts[row] as number), storedCrc);
  plan.crc32s[row] = newCrc;
}

function sourceOf(plan: FoldPlan, row: number, sources: ReadonlyMap<number, ByteRange>): ByteRange {
  const source = sources.get(plan.sources[row] as number);
  if (source === undefined) throw new GitwharfError("base/invariant", "a pack to copy from is not open");
  return source;
}

/** undefined: the entry stays as it is. */
function newHead(
  plan: FoldPlan,
  row: number,
  stored: Buffer,
): { readonly bytes: Buffer; readonly storedLength: number } | undefined {
  const base = plan.bases[row] as number;
  if (base === AS_STORED) return undefined;
  const head = parseEntryHeader(stored, 0, plan.objectFormat);
  if (head === undefined) throw damaged(plan, row);
  const distance = (plan.offsets[row] as number) - (plan.offsets[base] as number);
  return { bytes: formatEntryHeader(OFS_DELTA, head.sizeBytes, distance), storedLength: head.headerLength };
}

function checkStored(plan: FoldPlan, row: number, length: number, crc: number): void {
  const expected = (plan.ends[row] as number) - (plan.starts[row] as number);
  if (length !== expected || crc !== plan.crc32s[row]) throw damaged(plan, row);
}

function damaged(plan: FoldPlan, row: number): GitwharfError {
  const h = plan.oids.length / plan.objectCount;
  const oid = Buffer.from(plan.oids.subarray(row * h, (row + 1) * h)).toString("hex");
  return damagedPack(
    plan.sources[row] as number,
    `object ${oid} is damaged: its packed bytes are not those that the index was made of; run 'gitwharf fsck'`,
  );
}
