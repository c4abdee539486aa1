/**
 * The head of one entry in a pack. Specification: gitformat-pack, "n-byte type and length".
 *
 *     OFFSET  SIZE   MEANING
 *     0       1..    bit 7: more follows; bits 6–4: type; bits 3–0, then 7 bits a byte: inflated size, low bits first
 *     …       1..    OFS_DELTA (6): distance back to the base, 7 bits a byte, high bits first, each step adds 1
 *     …       20|32  REF_DELTA (7): the base's raw id
 *
 * Example: `95 0a` is a commit (1) of 0x5 + (0x0a << 4) = 165 bytes.
 */
import { GitwharfError } from "../base/errors.js";
import { hashBytes, type ObjectFormat } from "../object/object-format.js";
import { type ObjectId, objectIdAt, type ObjectType } from "../object/object-id.js";

export const OFS_DELTA = 6;
export const REF_DELTA = 7;
export type EntryType = 1 | 2 | 3 | 4 | typeof OFS_DELTA | typeof REF_DELTA;

const TYPES = [undefined, "commit", "tree", "blob", "tag"] as const;

/** Longest head: 10 bytes of type and size, and an id or 10 bytes of distance. */
export const ENTRY_HEADER_BYTES_MAX = 10 + 32;

export interface EntryHeader {
  readonly type: EntryType;
  /** Inflated bytes of what follows: the object, or the delta. */
  readonly sizeBytes: number;
  /** Bytes of the head itself. */
  readonly headerLength: number;
  /** OFS_DELTA: the base begins this many bytes before the entry. */
  readonly baseOffsetDistance?: number;
  /** REF_DELTA */
  readonly baseOid?: ObjectId;
}

export function objectTypeOf(type: number): ObjectType | undefined {
  return TYPES[type];
}

export function entryTypeOf(type: ObjectType): 1 | 2 | 3 | 4 {
  switch (type) {
    case "commit":
      return 1;
    case "tree":
      return 2;
    case "blob":
      return 3;
    case "tag":
      return 4;
  }
}

/**
 * @returns undefined when the bytes end before the head does
 * @throws pack/bad-pack for a type that does not exist or a number past 2^53
 */
export function parseEntryHeader(
  bytes: Uint8Array,
  at: number,
  format: ObjectFormat,
): EntryHeader | undefined {
  let p = at;
  let byte = bytes[p++];
  if (byte === undefined) return undefined;
  const type = (byte >> 4) & 7;
  let sizeBytes = byte & 15;
  let scale = 16;
  while (byte & 0x80) {
    byte = bytes[p++];
    if (byte === undefined) return undefined;
    sizeBytes += (byte & 0x7f) * scale;
    scale *= 128;
    if (sizeBytes > Number.MAX_SAFE_INTEGER || p - at > 10) throw bad("an entry's size does not fit");
  }
  switch (type) {
    case 1:
    case 2:
    case 3:
    case 4:
      return { type, sizeBytes, headerLength: p - at };
    case OFS_DELTA: {
      byte = bytes[p++];
      if (byte === undefined) return undefined;
      let distance = byte & 0x7f;
      while (byte & 0x80) {
        byte = bytes[p++];
        if (byte === undefined) return undefined;
        distance = (distance + 1) * 128 + (byte & 0x7f);
        if (distance > Number.MAX_SAFE_INTEGER) throw bad("the distance to a delta's base does not fit");
      }
      return { type, sizeBytes, headerLength: p - at, baseOffsetDistance: distance };
    }
    case REF_DELTA: {
      const h = hashBytes(format);
      if (p + h > bytes.length) return undefined;
      const baseOid = objectIdAt(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length), p, format);
      return { type, sizeBytes, headerLength: p + h - at, baseOid };
    }
    default:
      throw bad(`an entry has type ${type}, which does not exist`);
  }
}

/** @param base a distance for OFS_DELTA, an id for REF_DELTA, nothing otherwise */
export function formatEntryHeader(type: EntryType, sizeBytes: number, base?: number | ObjectId): Buffer {
  const out: number[] = [];
  let rest = Math.floor(sizeBytes / 16);
  let byte = (type << 4) | (sizeBytes % 16);
  while (rest > 0) {
    out.push(byte | 0x80);
    byte = rest % 128;
    rest = Math.floor(rest / 128);
  }
  out.push(byte);
  if (type === OFS_DELTA && typeof base === "number") {
    const distance = [base % 128];
    for (let left = Math.floor(base / 128); left > 0; left = Math.floor(left / 128)) {
      left--;
      distance.unshift(0x80 | (left % 128));
    }
    out.push(...distance);
  }
  const head = Buffer.from(out);
  return type === REF_DELTA && typeof base === "string"
    ? Buffer.concat([head, Buffer.from(base, "hex")])
    : head;
}

function bad(why: string): GitwharfError {
  return new GitwharfError("pack/bad-pack", `the pack is malformed: ${why}`);
}
