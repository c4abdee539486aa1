/**
 * Object ids: lower-case hexadecimal text, 40 (sha1) or 64 (sha256) characters. Text compares, hashes and prints
 * as it is; hot loops work on index positions and raw bytes instead.
 */
import * as crypto from "node:crypto";
import { createObjectHash, hashBytes, hexLength, type ObjectFormat } from "./object-format.js";

/** Lower-case hexadecimal, of the repository's object format. */
export type ObjectId = string;

export type ObjectType = "commit" | "tree" | "blob" | "tag";

const NULL_IDS = { sha1: "0".repeat(40), sha256: "0".repeat(64) } as const;

/** The id of all zeros: "no object" in ref updates. */
export function nullObjectId(format: ObjectFormat): ObjectId {
  return NULL_IDS[format];
}

export function isNullObjectId(oid: ObjectId): boolean {
  return oid === NULL_IDS.sha1 || oid === NULL_IDS.sha256;
}

/** True for exactly the right number of lower-case hexadecimal digits. */
export function isObjectId(text: string, format: ObjectFormat): boolean {
  return text.length === hexLength(format) && /^[0-9a-f]+$/.test(text);
}

/** Reads a raw id out of a buffer at an offset. */
export function objectIdAt(bytes: Buffer, offset: number, format: ObjectFormat): ObjectId {
  return bytes.toString("hex", offset, offset + hashBytes(format));
}

/** The id of an object: the hash of `type SP size NUL content`. */
export function hashObject(format: ObjectFormat, type: ObjectType, data: Uint8Array): ObjectId {
  const hash = createObjectHash(format);
  hash.update(`${type} ${data.length}\0`);
  hash.update(data);
  return hash.digest("hex");
}

const oneShot: { hash?: (algorithm: string, data: Uint8Array, encoding: "hex") => string } = crypto as never;

/** Hash of bytes as they are (pack and index trailers); one call into OpenSSL where Node has it. */
export function hashBytesOf(format: ObjectFormat, data: Uint8Array): string {
  return oneShot.hash
    ? oneShot.hash(format, data, "hex")
    : createObjectHash(format).update(data).digest("hex");
}

export const EMPTY_TREE = {
  sha1: "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
  sha256: "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321",
} as const;
