/**
 * The `.mtimes` file: what makes a pack a *cruft pack*, one of objects to which nothing leads, and says of each of them since when
 * it is known as such. Specification: gitformat-pack, "pack-*.mtimes files have the format" and "Cruft packs".
 *
 *     OFFSET  SIZE   MEANING
 *     0       4      "MTME"
 *     4       4      version, 1
 *     8       4      hash: 1 sha1, 2 sha256
 *     12      n·4    seconds since 1970, in the order of the index
 *     …       h      the pack's trailer
 *     …       h      hash of all the above
 */
import { GitwharfError } from "../base/errors.js";
import { hashBytes } from "../object/object-format.js";
import { hashBytesOf } from "../object/object-id.js";
import type { PackIndex } from "./pack-index.js";

const SIGNATURE = 0x4d544d45;
const VERSION = 1;
const HEAD_BYTES = 12;
const SECONDS_MAX = 0xffff_ffff;

/** How long the file of an index is. */
export function packMtimesBytes(index: PackIndex): number {
  return HEAD_BYTES + index.objectCount * 4 + 2 * hashBytes(index.objectFormat);
}

/** @returns seconds, by position in the index. @throws pack/bad-index when the file is damaged or another pack's */
export function parsePackMtimes(file: Buffer, index: PackIndex): Uint32Array {
  const h = hashBytes(index.objectFormat);
  if (file.length !== packMtimesBytes(index)) throw bad("its length is not that of its pack's objects");
  if (file.readUInt32BE(0) !== SIGNATURE) throw bad("it does not begin as such a file does");
  if (file.readUInt32BE(4) !== VERSION) throw bad(`its version ${file.readUInt32BE(4)} is not known`);
  if (file.readUInt32BE(8) !== hashNumber(index)) throw bad("it is of another hash");
  const end = file.length - 2 * h;
  if (file.toString("hex", end, end + h) !== index.packTrailer) throw bad("it belongs to another pack");
  if (hashBytesOf(index.objectFormat, file.subarray(0, end + h)) !== file.toString("hex", end + h))
    throw bad("its checksum is wrong");
  const seconds = new Uint32Array(index.objectCount);
  for (let i = 0; i < seconds.length; i++) seconds[i] = file.readUInt32BE(HEAD_BYTES + i * 4);
  return seconds;
}

/** @param seconds by position in the index */
export function formatPackMtimes(index: PackIndex, seconds: Uint32Array): Buffer {
  const h = hashBytes(index.objectFormat);
  if (seconds.length !== index.objectCount)
    throw new GitwharfError("base/invariant", "a pack has another number of objects than of times");
  const file = Buffer.alloc(packMtimesBytes(index));
  file.writeUInt32BE(SIGNATURE, 0);
  file.writeUInt32BE(VERSION, 4);
  file.writeUInt32BE(hashNumber(index), 8);
  for (let i = 0; i < seconds.length; i++)
    file.writeUInt32BE(Math.min(seconds[i] as number, SECONDS_MAX), HEAD_BYTES + i * 4);
  const end = file.length - 2 * h;
  file.write(index.packTrailer, end, "hex");
  file.write(hashBytesOf(index.objectFormat, file.subarray(0, end + h)), end + h, "hex");
  return file;
}

function hashNumber({ objectFormat }: PackIndex): number {
  return objectFormat === "sha1" ? 1 : 2;
}

function bad(why: string): GitwharfError {
  return new GitwharfError(
    "pack/bad-index",
    `the times of a pack of unreachable objects cannot be used: ${why}`,
  );
}
