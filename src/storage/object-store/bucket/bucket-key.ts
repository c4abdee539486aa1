/**
 * Which keys a bucket takes: safe as an object's name in any store, as a path below a directory and in a URL. Keys are
 * made here, never by a peer: one that is wrong is a defect.
 *
 * Segments of `a-z 0-9 . _ -` that begin with none of `.` and `-`, joined by `/`. A key that is the beginning of another
 * one up to a slash cannot stand beside it: one would be a file, the other a directory.
 */
import { invariant } from "../../../base/errors.js";
import type { BucketRange } from "./bucket.js";

/** S3 has 1,024 bytes, of which a prefix takes some. */
const KEY_LENGTH_MAX = 512;
/** File systems have 255. */
const SEGMENT = /^[a-z0-9_][a-z0-9._-]{0,199}$/;

/** @throws base/invariant */
export function checkKey(key: string): void {
  const ok = key.length <= KEY_LENGTH_MAX && key.split("/").every((segment) => SEGMENT.test(segment));
  invariant(ok, `${JSON.stringify(key.slice(0, KEY_LENGTH_MAX))} cannot be a key in a bucket`);
}

/** What keys may begin with: nothing, or a key, its last segment cut anywhere. @throws base/invariant */
export function checkKeyPrefix(prefix: string): void {
  if (prefix !== "") checkKey(prefix.endsWith("/") ? prefix.slice(0, -1) : prefix);
}

/** @throws base/invariant */
export function checkRange(range: BucketRange | undefined): void {
  if (range === undefined) return;
  const { start, end } = range;
  const ok = Number.isSafeInteger(start) && Number.isSafeInteger(end) && start >= 0 && start <= end;
  invariant(ok, `bytes ${start} to ${end} are no range`);
}
