/**
 * How the application knows that a question comes from this server, is whole, and is new: HMAC-SHA256 over
 * `v1.TIMESTAMP.ID.BODY`. The application takes a question whose timestamp is near, and an id only once. With several
 * secrets a question carries a signature by each, so that they can be changed while both sides work:
 *
 *     Gitwharf-Signature: v1=HEX, v1=HEX
 *
 * Specification: docs/remote-authorization.md
 */
import { createHmac, randomUUID, timingSafeEqual } from "node:crypto";

export const SIGNATURE_HEADER = "Gitwharf-Signature";
export const TIMESTAMP_HEADER = "Gitwharf-Timestamp";
export const REQUEST_ID_HEADER = "Gitwharf-Request-Id";

/** More than anybody needs to change one for another. */
export const SECRETS_MAX = 4;
const SIGNATURE_CHARACTERS_MAX = 400;

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
  secrets: readonly string[],
  body: string,
  nowMs = Date.now(),
): Readonly<Record<string, string>> {
  const timestamp = String(Math.floor(nowMs / 1000));
  const id = randomUUID();
  return {
    [TIMESTAMP_HEADER]: timestamp,
    [REQUEST_ID_HEADER]: id,
    [SIGNATURE_HEADER]: secrets.map((secret) => signatureOf(secret, { timestamp, id, body })).join(", "),
  };
}

/**
 * For applications: is this what `secret` signs (or one of several, while they change), and not older or newer than
 * `toleranceSeconds`?
 */
export function verifyRemoteSignature(
  secret: string | readonly string[],
  parts: SignedParts & { readonly signature: string },
  { toleranceSeconds = 300, nowMs = Date.now() } = {},
): boolean {
  const given = parts.signature.slice(0, SIGNATURE_CHARACTERS_MAX).split(",", SECRETS_MAX);
  const isSigned = [secret].flat().some((one) => {
    const wanted = Buffer.from(signatureOf(one, parts));
    return given.some((each) => isSame(wanted, Buffer.from(each.trim())));
  });
  return (
    isSigned &&
    /^[0-9]{1,12}$/.test(parts.timestamp) &&
    Math.abs(nowMs / 1000 - Number(parts.timestamp)) <= toleranceSeconds
  );
}

function isSame(wanted: Buffer, given: Buffer): boolean {
  return wanted.length === given.length && timingSafeEqual(wanted, given);
}
