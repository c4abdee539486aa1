/**
 * The pieces of a pack that are written anew. Specification: gitformat-pack.
 *
 *     OFFSET  SIZE   MEANING
 *     0       4      "PACK"
 *     4       4      version, 2
 *     8       4      how many objects
 *     12      …      entries
 *     …       h      hash of all the above
 */
import type { ObjectId, ObjectType } from "../object/object-id.js";
import { entryTypeOf, formatEntryHeader, OFS_DELTA, REF_DELTA } from "./entry-header.js";
import { type DeflateLevel, deflateSmall } from "./deflate.js";

export const PACK_HEADER_BYTES = 12;

/** @param objectCount 0 to 2^32 − 1 */
export function formatPackHeader(objectCount: number): Buffer {
  const head = Buffer.alloc(PACK_HEADER_BYTES);
  head.write("PACK", 0, "latin1");
  head.writeUInt32BE(2, 4);
  head.writeUInt32BE(objectCount, 8);
  return head;
}

/** A whole object as one entry. */
export function formatEntry(type: ObjectType, data: Uint8Array, level?: DeflateLevel): Buffer {
  return Buffer.concat([formatEntryHeader(entryTypeOf(type), data.length), deflateSmall(data, level)]);
}

/** A delta as one entry. @param base the distance back to the base (OFS_DELTA), or its id (REF_DELTA) */
export function formatDeltaEntry(base: number | ObjectId, delta: Uint8Array, level?: DeflateLevel): Buffer {
  const type = typeof base === "number" ? OFS_DELTA : REF_DELTA;
  return Buffer.concat([formatEntryHeader(type, delta.length, base), deflateSmall(delta, level)]);
}
