/**
 * A pack in which spliced entries take the place of others: where each entry comes to stand, and what the pack is made of. The
 * order of entries stays. A delta whose base came nearer or went away gets another distance, which may be longer or shorter.
 */
import { crc32 } from "node:zlib";
import { type ByteRange, openByteRange } from "../../../base/byte-range.js";
import { isPromise } from "../../../base/maybe-promise.js";
import { invariant } from "../../../base/errors.js";
import { hashBytes } from "../../../object/object-format.js";
import {
  ENTRY_HEADER_BYTES_MAX,
  formatEntryHeader,
  OFS_DELTA,
  parseEntryHeader,
} from "../../../pack/entry-header.js";
import { renameBitmap } from "../../../pack/bitmap-writer.js";
import { PackIndex } from "../../../pack/pack-index.js";
import { formatPackIndex } from "../../../pack/pack-index-writer.js";
import { PACK_HEADER_BYTES } from "../../../pack/pack-writer.js";
import { formatReverseIndex, PackOffsets } from "../../../pack/reverse-index.js";
import { corrupt } from "../tree/canonical-bytes.js";
import type {
  FindTask,
  IndexAnswer,
  IndexTask,
  LayoutPiece,
  LayOutTask,
  LongEntry,
  Move,
  PackLayout,
  Replacement,
} from "./chunk-task.js";

const CRC_BYTES = 1024 * 1024;
/** Git writes deltas near their bases. Each that spans an entry which became another one is two more pieces. */
const NEW_HEADERS_MAX = 100_000;

/** In the order of their offsets. */
export function findLongEntries({
  index: bytes,
  objectFormat,
  packBytes,
  entryBytesMin,
}: Omit<FindTask, "do">): readonly LongEntry[] {
  return longEntries(PackOffsets.of(PackIndex.parse(bytes, objectFormat), packBytes), entryBytesMin);
}

export function longEntries(offsets: PackOffsets, entryBytesMin: number): readonly LongEntry[] {
  const found: LongEntry[] = [];
  for (let rank = 0; rank < offsets.objectCount; rank++) {
    const offset = offsets.offsetAtRank(rank);
    const end = offsets.endOffsetOfRank(rank);
    if (end - offset >= entryBytesMin) found.push({ position: offsets.positionAtRank(rank), offset, end });
  }
  return found;
}

/** @returns undefined when it would be of too many pieces. @throws storage/corrupt, storage/io */
export function layOutPack(
  { index: bytes, objectFormat, pack: descriptor, replacements }: Omit<LayOutTask, "do">,
  newHeadersMax: number = NEW_HEADERS_MAX,
): PackLayout | undefined {
  const pack = openByteRange(descriptor, { blocking: true });
  const index = PackIndex.parse(bytes, objectFormat);
  const old = PackOffsets.of(index, pack.sizeBytes);
  const n = index.objectCount;
  const byOffset = new Map(
    replacements.map((replacement): [number, Replacement] => [replacement.offset, replacement]),
  );
  const offsets = new Float64Array(n);
  const crc32s = new Uint32Array(n);
  const byRank = new Float64Array(n);
  const pieces: LayoutPiece[] = [];
  let runStart = 0;
  const endRun = (end: number): void => {
    if (end > runStart) pieces.push({ from: "pack", start: runStart, end });
  };
  let at = PACK_HEADER_BYTES;
  let hasMoved = false;
  let newHeaders = 0;
  const moves: Move[] = [];
  let shift = 0;
  const noteMove = (from: number): void => {
    if (at - from === shift) return;
    shift = at - from;
    moves.push({ from, to: at });
  };
  for (let rank = 0; rank < n; rank++) {
    const offset = old.offsetAtRank(rank);
    const end = old.endOffsetOfRank(rank);
    const position = old.positionAtRank(rank);
    noteMove(offset);
    byRank[rank] = at;
    offsets[position] = at;
    crc32s[position] = index.crc32At(position) ?? 0;
    const replacement = byOffset.get(offset);
    if (replacement !== undefined) {
      endRun(offset);
      pieces.push({ from: "file", start: replacement.start, end: replacement.end });
      crc32s[position] = replacement.crc32;
      at += replacement.end - replacement.start;
      runStart = end;
      hasMoved = true;
      continue;
    }
    at += end - offset;
    if (!hasMoved) continue;
    const head = parseEntryHeader(readNow(pack, offset, ENTRY_HEADER_BYTES_MAX), 0, objectFormat);
    if (head === undefined) throw corrupt("a pushed pack", `it ends in its entry at ${offset}`);
    const { type, baseOffsetDistance: distance, headerLength } = head;
    if (type !== OFS_DELTA || distance === undefined) continue;
    const base = old.rankOfOffset(offset - distance);
    if (base < 0 || base >= rank)
      throw corrupt("a pushed pack", `the base of its entry at ${offset} is none of its entries`);
    const moved = (byRank[rank] as number) - (byRank[base] as number);
    if (moved === distance) continue;
    if (++newHeaders > newHeadersMax) return undefined;
    const header = formatEntryHeader(OFS_DELTA, head.sizeBytes, moved);
    endRun(offset);
    pieces.push({ from: "bytes", bytes: Uint8Array.from(header) });
    runStart = offset + headerLength;
    at += header.length - headerLength;
    crc32s[position] = crcOf(pack, runStart, end, crc32(header));
  }
  const end = pack.sizeBytes - hashBytes(objectFormat);
  noteMove(end);
  endRun(end);
  return { offsets, crc32s, pieces, moves };
}

/** Where an entry stands now, or where all of them end. @param offset where that was */
export function movedTo(moves: readonly Move[], offset: number): number {
  const move = moves.findLast(({ from }) => from <= offset);
  return move === undefined ? offset : offset + move.to - move.from;
}

/** Ids stand in the order in which they stood. */
export function indexPack(task: Omit<IndexTask, "do">): IndexAnswer {
  const { objectFormat, layout, trailer, packBytes, bitmap } = task;
  const h = hashBytes(objectFormat);
  const before = PackIndex.parse(task.index, objectFormat);
  const oids = new Uint8Array(before.objectCount * h);
  for (let position = 0; position < before.objectCount; position++)
    before.copyOid(position, oids, position * h);
  const { bytes } = formatPackIndex({ objectFormat, oids, ...layout, packTrailer: trailer });
  return {
    index: bytes,
    reverseIndex: formatReverseIndex(PackIndex.parse(bytes, objectFormat), packBytes),
    bitmap: bitmap === undefined ? undefined : renameBitmap(bitmap, objectFormat, trailer),
  };
}

function crcOf(pack: ByteRange, start: number, end: number, seed: number): number {
  let sum = seed;
  for (let at = start; at < end; at += CRC_BYTES)
    sum = crc32(readNow(pack, at, Math.min(CRC_BYTES, end - at)), sum);
  return sum;
}

function readNow(pack: ByteRange, offset: number, length: number): Buffer {
  const bytes = pack.read(offset, length);
  invariant(!isPromise(bytes), "a pack is laid out where bytes are not at hand at once");
  return bytes;
}
