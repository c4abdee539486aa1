/**
 * The two object formats (hash functions) that Git knows. No other file says 20, 32, 40 or 64.
 * Specification: gitformat-pack, hash-function-transition.
 */
import { createHash, type Hash } from "node:crypto";

export type ObjectFormat = "sha1" | "sha256";

/** Bytes of an object id. */
export function hashBytes(format: ObjectFormat): 20 | 32 {
  return format === "sha1" ? 20 : 32;
}

/** Characters of an object id in hexadecimal. */
export function hexLength(format: ObjectFormat): 40 | 64 {
  return format === "sha1" ? 40 : 64;
}

export function createObjectHash(format: ObjectFormat): Hash {
  return createHash(format);
}

export function isObjectFormat(text: string): text is ObjectFormat {
  return text === "sha1" || text === "sha256";
}
