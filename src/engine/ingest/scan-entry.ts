/**
 * One entry out of a window of a pack that may still be arriving: head, compressed data checked and inflated, and
 * what a delta says about itself. Deltas are not resolved here.
 */
import { GitwharfError, isGitwharfError } from "../../base/errors.js";
import type { Limits } from "../../base/limits.js";
import type { ObjectFormat } from "../../object/object-format.js";
import type { ObjectId } from "../../object/object-id.js";
import { deltaSizes } from "../../pack/delta.js";
import { type EntryHeader, type EntryType, OFS_DELTA, parseEntryHeader } from "../../pack/entry-header.js";
import {
  canStreamInflate,
  type Inflated,
  inflateInto,
  OUTPUT_SLACK_BYTES,
  tryInflateAt,
} from "../../pack/inflate.js";
import { PACK_HEADER_BYTES } from "../../pack/pack-writer.js";
import { OBJECT_SIZE_BYTES_MAX } from "./entry-table.js";
import { limitExceeded } from "./limit-exceeded.js";

/** Entries that inflate to more are read in a stream and never held whole while they are scanned. */
const LARGE_ENTRY_BYTES = canStreamInflate ? 4 * 1024 * 1024 : Number.POSITIVE_INFINITY;

export interface ScanOptions {
  readonly objectFormat: ObjectFormat;
  readonly limits: Limits;
  /** Entries that inflate to more come back as their head only. @default LARGE_ENTRY_BYTES */
  readonly largeBytes?: number;
  /** Where `data` goes until the next call; without it, every entry gets memory of its own. */
  readonly scratch?: InflateScratch;
}

/** Memory that one entry after the other is inflated into; it grows up to the largest. */
export class InflateScratch {
  #bytes = Buffer.allocUnsafeSlow(65_536);

  /** As `pack/inflate.ts` has it; `data` is good until the next call. */
  tryInflateAt(window: Buffer, at: number, sizeBytes: number): Inflated | "short" {
    const needed = sizeBytes + OUTPUT_SLACK_BYTES;
    if (needed > this.#bytes.length)
      this.#bytes = Buffer.allocUnsafeSlow(Math.max(needed, this.#bytes.length * 2));
    const consumed = inflateInto(window, at, this.#bytes, 0, sizeBytes);
    return consumed < 0 ? "short" : { data: this.#bytes.subarray(0, sizeBytes), consumed };
  }
}

export interface ScannedEntry {
  readonly type: EntryType;
  readonly headLength: number;
  /** Inflated bytes: of the object, or of the delta. */
  readonly sizeBytes: number;
  /** Inflated bytes of the object that the entry stands for. */
  readonly resultSizeBytes: number;
  /** Absolute offset of an OFS_DELTA's base. */
  readonly baseOffset: number | undefined;
  readonly baseOid: ObjectId | undefined;
  /** Inflated content: the caller's own, or a view of the scratch memory. */
  readonly data: Buffer;
  /** Where the next entry begins in the window. */
  readonly end: number;
}

/** An entry whose head is whole and within the limits, and that is too large to be held. */
export interface LargeEntryHead extends EntryHeader {
  readonly large: true;
  readonly baseOffset: number | undefined;
}

/**
 * @param offset of `window[at]` in the pack
 * @returns "short" when the window ends before the entry does
 * @throws pack/bad-pack, pack/bad-zlib, pack/bad-delta, base/limit-exceeded
 */
export function scanEntry(
  window: Buffer,
  at: number,
  offset: number,
  options: ScanOptions,
): ScannedEntry | LargeEntryHead | "short" {
  const head = parseEntryHeader(window, at, options.objectFormat);
  if (head === undefined) return "short";
  const { type, sizeBytes, headerLength, baseOffsetDistance } = head;
  checkObjectSize(sizeBytes, offset, options.limits);
  const baseOffset = baseOffsetDistance === undefined ? undefined : offset - baseOffsetDistance;
  if (baseOffset !== undefined && (baseOffset < PACK_HEADER_BYTES || baseOffset >= offset)) {
    throw new GitwharfError(
      "pack/bad-pack",
      `the pack is malformed: the delta at offset ${offset} has its base outside of it`,
    );
  }
  if (sizeBytes > (options.largeBytes ?? LARGE_ENTRY_BYTES)) return { ...head, large: true, baseOffset };
  try {
    const inflated =
      options.scratch === undefined
        ? tryInflateAt(window, at + headerLength, sizeBytes)
        : options.scratch.tryInflateAt(window, at + headerLength, sizeBytes);
    if (inflated === "short") {
      if (window.length - at > packedBytesMax(sizeBytes)) throw paddedEntry(offset);
      return "short";
    }
    const resultSizeBytes = type < OFS_DELTA ? sizeBytes : deltaSizes(inflated.data).resultSizeBytes;
    if (type >= OFS_DELTA) checkObjectSize(resultSizeBytes, offset, options.limits);
    const { data, consumed } = inflated;
    if (consumed > packedBytesMax(sizeBytes)) throw paddedEntry(offset);
    return {
      type,
      headLength: headerLength,
      sizeBytes,
      resultSizeBytes,
      baseOffset,
      baseOid: head.baseOid,
      data,
      end: at + headerLength + consumed,
    };
  } catch (error) {
    throw placed(error, offset);
  }
}

/** @throws base/limit-exceeded */
export function checkObjectSize(sizeBytes: number, offset: number, limits: Limits): void {
  const max = Math.min(limits.objectSizeBytesMax, OBJECT_SIZE_BYTES_MAX);
  if (sizeBytes > max)
    throw limitExceeded("objectSizeBytesMax", `the object at offset ${offset} of the pack`, max, "bytes");
}

/**
 * The most packed bytes that an entry of this inflated size may have. No encoder comes near it; without a bound, a
 * stream of empty blocks would make a few bytes cost the memory of the whole pack each time they are read.
 */
export function packedBytesMax(sizeBytes: number): number {
  return sizeBytes * 2 + 65_536;
}

export function paddedEntry(offset: number): GitwharfError {
  return new GitwharfError(
    "pack/bad-zlib",
    `the entry at offset ${offset} of the pack has more compressed than inflated bytes`,
  );
}

/** The same error with the place in its message. */
export function placed(error: unknown, offset: number): unknown {
  if (!isGitwharfError(error, "pack/bad-zlib", "pack/bad-delta", "pack/bad-pack")) return error;
  if (error.message.includes("at offset ")) return error;
  return new GitwharfError(error.code, `at offset ${offset} of the pack: ${error.message}`, {
    cause: error,
    details: { offset },
  });
}

export function noEntryAt(baseOffset: number, offset: number): GitwharfError {
  return new GitwharfError(
    "pack/missing-base",
    `the delta at offset ${offset} of the pack has its base at offset ${baseOffset}, where no entry begins`,
  );
}
