/**
 * The ends of a reftable file. Specification: technical/reftable, "Header" and "Footer".
 *
 *     HEADER   OFFSET  SIZE  MEANING
 *              0       4     "REFT"
 *              4       1     version: 1 (sha1) or 2
 *              5       3     block size; 0 = blocks are not aligned
 *              8       8     least update index
 *              16      8     greatest update index
 *              24      4     version 2 only: "sha1" or "s256"
 *
 *     FOOTER   0       24/28 the header again
 *              +0      8     position of the ref index
 *              +8      8     position of the first obj block << 5 | bytes of an abbreviated id in obj blocks
 *              +16     8     position of the obj index
 *              +24     8     position of the first log block
 *              +32     8     position of the log index
 *              +40     4     CRC-32 of the footer before it
 *
 * A position of 0 means that the section is absent; but in a file of logs alone the first log block is at 0.
 */
import { crc32 } from "node:zlib";
import { GitwharfError } from "../../../../base/errors.js";
import type { ObjectFormat } from "../../../../object/object-format.js";
import { corrupt, readUint64, writeUint64 } from "./byte-cursor.js";

export interface TableHeader {
  readonly objectFormat: ObjectFormat;
  /** 0 = blocks are not aligned. */
  readonly blockSize: number;
  readonly minUpdateIndex: number;
  readonly maxUpdateIndex: number;
}

export interface TableSections {
  readonly refIndexPosition: number;
  readonly objPosition: number;
  /** Bytes; 0 when there are no obj blocks. */
  readonly objIdLength: number;
  readonly objIndexPosition: number;
  readonly logPosition: number;
  readonly logIndexPosition: number;
}

const MAGIC = "REFT";
const FORMAT_IDS = { sha1: "sha1", sha256: "s256" } as const;
const SECTION_BYTES = 44;
export const BLOCK_SIZE_MAX = 0xffffff;

export function headerLength(format: ObjectFormat): 24 | 28 {
  return format === "sha1" ? 24 : 28;
}

export function formatHeader(header: TableHeader): Buffer {
  const { objectFormat } = header;
  const bytes = Buffer.alloc(headerLength(objectFormat));
  bytes.write(MAGIC, 0, "latin1");
  bytes[4] = objectFormat === "sha1" ? 1 : 2;
  bytes.writeUIntBE(header.blockSize, 5, 3);
  writeUint64(bytes, 8, header.minUpdateIndex);
  writeUint64(bytes, 16, header.maxUpdateIndex);
  if (objectFormat !== "sha1") bytes.write(FORMAT_IDS[objectFormat], 24, "latin1");
  return bytes;
}

/** @returns also how long the header is: a version 2 file may hold sha1. @throws storage/bad-ref, storage/unsupported */
export function parseHeader(bytes: Buffer): TableHeader & { readonly length: number } {
  if (bytes.length < 28 || bytes.toString("latin1", 0, 4) !== MAGIC)
    throw corrupt("it does not begin as one");
  const version = bytes[4];
  if (version !== 1 && version !== 2)
    throw new GitwharfError("storage/unsupported", `a reftable has the unknown version ${version}`);
  const id = version === 1 ? FORMAT_IDS.sha1 : bytes.toString("latin1", 24, 28);
  const objectFormat = id === FORMAT_IDS.sha1 ? "sha1" : id === FORMAT_IDS.sha256 ? "sha256" : undefined;
  if (objectFormat === undefined)
    throw new GitwharfError("storage/unsupported", "a reftable has an unknown object format");
  return {
    objectFormat,
    blockSize: bytes.readUIntBE(5, 3),
    minUpdateIndex: readUint64(bytes, 8),
    maxUpdateIndex: readUint64(bytes, 16),
    length: version === 1 ? 24 : 28,
  };
}

export function formatFooter(header: TableHeader, sections: TableSections): Buffer {
  const start = formatHeader(header);
  const bytes = Buffer.concat([start, Buffer.alloc(SECTION_BYTES)]);
  const at = start.length;
  writeUint64(bytes, at, sections.refIndexPosition);
  writeUint64(bytes, at + 8, sections.objPosition * 32 + sections.objIdLength);
  writeUint64(bytes, at + 16, sections.objIndexPosition);
  writeUint64(bytes, at + 24, sections.logPosition);
  writeUint64(bytes, at + 32, sections.logIndexPosition);
  bytes.writeUInt32BE(crc32(bytes.subarray(0, at + 40)), at + 40);
  return bytes;
}

export function footerLength(headerBytes: number): number {
  return headerBytes + SECTION_BYTES;
}

/** @param bytes the footer and nothing else. @throws storage/bad-ref */
export function parseFooter(bytes: Buffer, header: Buffer): TableSections {
  const at = header.length;
  if (bytes.length !== footerLength(at)) throw corrupt("it is cut short");
  if (bytes.readUInt32BE(at + 40) !== crc32(bytes.subarray(0, at + 40)))
    throw corrupt("the checksum of its footer is wrong");
  if (!bytes.subarray(0, at).equals(header)) throw corrupt("its footer does not repeat its header");
  const objects = readUint64(bytes, at + 8);
  return {
    refIndexPosition: readUint64(bytes, at),
    objPosition: Math.floor(objects / 32),
    objIdLength: objects % 32,
    objIndexPosition: readUint64(bytes, at + 16),
    logPosition: readUint64(bytes, at + 24),
    logIndexPosition: readUint64(bytes, at + 32),
  };
}
