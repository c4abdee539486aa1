/**
 * The id under which a request is found in logs and traces. A proxy that is trusted may hand one in; from anybody else, and
 * where it is not well formed, one is made: strangers must not write into the log what they like.
 */
import { randomUUID } from "node:crypto";

const WELL_FORMED = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/;

/** @param given all values that came */
export function requestIdOf(given: readonly string[], isFromTrustedProxy: boolean): string {
  const [only] = given;
  if (isFromTrustedProxy && given.length === 1 && only !== undefined && WELL_FORMED.test(only)) return only;
  return randomUUID();
}
