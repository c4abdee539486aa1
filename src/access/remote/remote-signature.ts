/**
 * How the application knows that a question comes from this server, is whole, and is new: HMAC-SHA256 over
 * `v1.TIMESTAMP.ID.BODY`. The application takes a question whose timestamp is near, and an id only once.
 * Specification: docs/remote-authorization.md
 */
import { createHmac, randomUUID, timingSafeEqual } from "node:crypto";

export const SIGNATURE_HEADER = "Gitwharf-Signature";
export const TIMESTAMP_HEADER = "Gitwharf-Timestamp";
export const REQUEST_ID_HEADER = "Gitwharf-Request-Id";

export interface SignedParts {
  /** Seconds since 1970, in decimal. */
  readonly timestamp: string;
  readonly id: string;
  readonly body: string;
}

export function signatureOf(secret: string, { timestamp, id, body }: SignedParts): string {
  return `v1=${createHmac("sha256", secret).update(`v1.${timestamp}.${id}.${body}`).digest("hex")}`;
}

/** New ones for every attempt: an application that refuses an id it has seen must still take a retry. */
export function signatureHeaders(
  secret: string,
  body: string,
  nowMs = Date.now(),
): Readonly<Record<string, string>> {
  const timestamp = String(Math.floor(nowMs / 1000));
  const id = randomUUID();
  return {
    [TIMESTAMP_HEADER]: timestamp,
    [REQUEST_ID_HEADER]: id,
    [SIGNATURE_HEADER]: signatureOf(secret, { timestamp, id, body }),
  };
}

/** For applications: is this what `secret` signs, and not older or newer than `toleranceSeconds`? */
export function verifyRemoteSignature(
  secret: string,
  parts: SignedParts & { readonly signature: string },
  { toleranceSeconds = 300, nowMs = Date.now() } = {},
): boolean {
  const wanted = Buffer.from(signatureOf(secret, parts));
  const given = Buffer.from(parts.signature);
  if (wanted.length !== given.length || !timingSafeEqual(wanted, given)) return false;
  return (
    /^[0-9]{1,12}$/.test(parts.timestamp) &&
    Math.abs(nowMs / 1000 - Number(parts.timestamp)) <= toleranceSeconds
  );
}
