/**
 * What reading an entry of a pack has to know about the pack, and the errors it raises. The ways of reading are in
 * `resident-object.ts` (at once), `delta-chain.ts` (waiting for bytes, objects of any size) and `object-header.ts`.
 */
import type { ByteRange } from "../base/byte-range.js";
import { GitwharfError, isGitwharfError } from "../base/errors.js";
import type { MaybePromise } from "../base/maybe-promise.js";
import type { ObjectFormat } from "../object/object-format.js";
import type { ObjectId, ObjectType } from "../object/object-id.js";
import { type EntryHeader, parseEntryHeader } from "./entry-header.js";
import type { PackIndex } from "./pack-index.js";

export interface PackedObject {
  readonly type: ObjectType;
  /** Nobody changes it: it may be shared. It may pin up to 120 KiB: what is kept for long is copied. */
  readonly data: Buffer;
}

export interface PackedObjectHeader {
  readonly type: ObjectType;
  /** Inflated bytes of the object, deltas resolved. */
  readonly sizeBytes: number;
}

/** Finds objects outside of the pack: bases of a thin pack, or of REF_DELTA entries. */
export type ExternalObjects = (oid: ObjectId) => MaybePromise<PackedObject | undefined>;

export interface EntrySource {
  /** Tells the packs of this thread apart. */
  readonly number: number;
  readonly key: string;
  readonly name: string;
  readonly index: PackIndex;
  readonly bytes: ByteRange;
  readonly objectFormat: ObjectFormat;
}

/** @param bytes the pack's from `offset` on. @throws object/corrupt */
export function entryHeaderAt(source: EntrySource, bytes: Buffer, offset: number): EntryHeader {
  let header: EntryHeader | undefined;
  try {
    header = parseEntryHeader(bytes, 0, source.objectFormat);
  } catch (cause) {
    throw corruptEntry(source, offset, "its head is malformed", cause);
  }
  if (header === undefined) throw corruptEntry(source, offset, "the pack ends in its head");
  // No stream of deflate's inflates to more than 1,032 times its length: nothing is allocated on such a claim.
  if (header.sizeBytes > (source.bytes.sizeBytes - offset) * 1032) {
    throw corruptEntry(source, offset, "it claims more bytes than the pack can hold");
  }
  return header;
}

/** Where a delta's base begins; undefined when it is outside of the pack. @throws object/corrupt */
export function baseOffsetOf(source: EntrySource, header: EntryHeader, offset: number): number | undefined {
  const distance = header.baseOffsetDistance;
  if (distance !== undefined) {
    if (distance === 0 || offset - distance < 12)
      throw corruptEntry(source, offset, "its base is outside of the pack");
    return offset - distance;
  }
  const position = source.index.find(header.baseOid ?? "");
  return position < 0 ? undefined : source.index.offsetAt(position);
}

/** The most that deflate makes of so many bytes, as zlib's own deflateBound has it for any settings. */
export function compressedBound(sizeBytes: number): number {
  return sizeBytes + Math.ceil(sizeBytes / 8) + Math.ceil(sizeBytes / 64) + 32;
}

/** The error to throw; what already tells where it was, or is not the pack's fault, stays as it is. */
export function corruptEntry(
  source: EntrySource,
  offset: number,
  why: string,
  cause?: unknown,
): GitwharfError {
  if (isGitwharfError(cause, "storage/io", "object/corrupt", "base/invariant", "base/aborted")) return cause;
  return new GitwharfError(
    "object/corrupt",
    `the entry at ${offset} of ${source.name} cannot be read: ${why}`,
    {
      cause,
      details: { pack: source.key, offset },
    },
  );
}

export function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : "it is malformed";
}
