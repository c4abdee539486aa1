/**
 * One entry that is too large to be held, out of a spooled pack: inflated piece by piece. A blob is hashed on the
 * way; of a delta only the sizes at its head are kept; the other types (nobody makes them so large) are collected,
 * because their content must be understood.
 */
import { crc32 } from "node:zlib";
import { hashBytes } from "../../object/object-format.js";
import { objectIdAt } from "../../object/object-id.js";
import { deltaSizes } from "../../pack/delta.js";
import { OFS_DELTA } from "../../pack/entry-header.js";
import { StreamInflater } from "../../pack/inflate.js";
import { collision, type ExistingObjects } from "./existing-objects.js";
import type { Kind } from "./link-set.js";
import type { ObjectExaminer } from "./object-examiner.js";
import {
  checkObjectSize,
  type LargeEntryHead,
  packedBytesMax,
  paddedEntry,
  placed,
  type ScanOptions,
} from "./scan-entry.js";
import type { Spool } from "./spool.js";

const BLOB = 3;
const PIECE_BYTES = 256 * 1024;
/** Enough for the two sizes at the head of any delta. */
const DELTA_HEAD_BYTES = 20;

export interface ScannedLargeEntry {
  readonly resultSizeBytes: number;
  /** Of the packed bytes, head included. */
  readonly crc32: number;
  /** Where the next entry begins in the pack. */
  readonly end: number;
}

export interface LargeEntryContext {
  readonly examiner: ObjectExaminer;
  readonly existing: ExistingObjects | undefined;
  readonly options: ScanOptions;
  /** Where the raw id goes. */
  readonly oids: Uint8Array;
  readonly index: number;
}

/**
 * @returns undefined when the spool ends before the entry does
 * @throws pack/bad-zlib, pack/bad-delta, pack/collision, object/malformed, base/limit-exceeded, storage/io
 */
export async function scanLargeEntry(
  spool: Spool,
  head: LargeEntryHead,
  offset: number,
  context: LargeEntryContext,
): Promise<ScannedLargeEntry | undefined> {
  const { examiner, oids, index, options } = context;
  const { type, sizeBytes } = head;
  const isDelta = type >= OFS_DELTA;
  const hash = type === BLOB ? examiner.openStream(sizeBytes) : undefined;
  const kept: Buffer[] = [];
  let keptBytes = 0;
  const keepMax = isDelta ? DELTA_HEAD_BYTES : type === BLOB ? 0 : sizeBytes;
  const found = inflatePieces(spool, offset, head, (piece) => {
    hash?.update(piece);
    if (keptBytes < keepMax) {
      kept.push(Buffer.from(piece));
      keptBytes += piece.length;
    }
  });
  if (found === undefined) return undefined;
  let resultSizeBytes = sizeBytes;
  if (isDelta) {
    try {
      resultSizeBytes = deltaSizes(Buffer.concat(kept)).resultSizeBytes;
    } catch (error) {
      throw placed(error, offset);
    }
    checkObjectSize(resultSizeBytes, offset, options.limits);
  } else if (hash !== undefined) {
    hash.digest(oids, index * hashBytes(options.objectFormat));
    await compareBlob(spool, head, offset, context);
  } else {
    examiner.examine(type as Kind, Buffer.concat(kept), oids, index);
  }
  return { resultSizeBytes, ...found };
}

/** With a namesake in the repository, if there is one: inflates the entry a second time beside it. */
async function compareBlob(
  spool: Spool,
  head: LargeEntryHead,
  offset: number,
  context: LargeEntryContext,
): Promise<void> {
  const { existing, oids, index, options } = context;
  const at = index * hashBytes(options.objectFormat);
  if (existing === undefined || !existing.has(oids, at)) return;
  const namesake = await existing.read(oids, at);
  if (namesake === undefined) return;
  const { data } = namesake;
  let same = namesake.type === "blob" && data.length === head.sizeBytes;
  let done = 0;
  if (same) {
    inflatePieces(spool, offset, head, (piece) => {
      same &&= data.subarray(done, done + piece.length).equals(piece);
      done += piece.length;
    });
  }
  if (!same) {
    throw collision(
      objectIdAt(Buffer.from(oids.buffer, oids.byteOffset, oids.length), at, options.objectFormat),
    );
  }
}

function inflatePieces(
  spool: Spool,
  offset: number,
  head: LargeEntryHead,
  onPiece: (piece: Buffer) => void,
): { readonly crc32: number; readonly end: number } | undefined {
  const input = Buffer.allocUnsafeSlow(PIECE_BYTES);
  let length = spool.read(input, 0, head.headerLength, offset);
  let crc = crc32(input.subarray(0, length));
  let at = offset + length;
  const stop = at + packedBytesMax(head.sizeBytes);
  try {
    const inflater = new StreamInflater(head.sizeBytes, onPiece);
    for (;;) {
      length = spool.read(input, 0, PIECE_BYTES, at);
      if (length === 0) return undefined;
      const piece = input.subarray(0, length);
      const used = inflater.push(piece);
      crc = crc32(piece.subarray(0, used ?? length), crc);
      at += used ?? length;
      if (at > stop) throw paddedEntry(offset);
      if (used !== undefined) return { crc32: crc, end: at };
    }
  } catch (error) {
    throw placed(error, offset);
  }
}
