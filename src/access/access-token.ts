/**
 * Access tokens: `gitwharf_`, 256 random bits in hex, and a CRC-32 by which a typing error is told from a token that was
 * taken away without asking the database. Only their SHA-256 is stored.
 *
 *     OFFSET  SIZE  MEANING
 *          0     9  "gitwharf_"
 *          9    64  random bits, lower-case hex
 *         73     8  CRC-32 of what is before it, lower-case hex
 */
import { createHash, randomBytes } from "node:crypto";
import { crc32 } from "node:zlib";

const PREFIX = "gitwharf_";
const FORM = /^gitwharf_[0-9a-f]{72}$/;

export interface NewAccessToken {
  /** Shown once. */
  readonly token: string;
  /** What is stored. */
  readonly hash: string;
  /** Names it in lists and logs; says nothing about the token. */
  readonly id: string;
}

export function createAccessToken(): NewAccessToken {
  const body = PREFIX + randomBytes(32).toString("hex");
  const token = body + checksum(body);
  return { token, hash: hashAccessToken(token), id: randomBytes(6).toString("hex") };
}

/** Does the text claim to be one? */
export function looksLikeAccessToken(text: string): boolean {
  return text.startsWith(PREFIX);
}

export function isAccessToken(text: string): boolean {
  return FORM.test(text) && text.slice(-8) === checksum(text.slice(0, -8));
}

export function hashAccessToken(token: string): string {
  return createHash("sha256").update(token).digest("hex");
}

function checksum(text: string): string {
  return crc32(text).toString(16).padStart(8, "0");
}
