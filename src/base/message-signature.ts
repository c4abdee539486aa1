/**
 * How a receiver knows that a message comes from this server, is whole, and is new. Specification: Standard Webhooks 1.0:
 * HMAC-SHA256 over `ID.TIMESTAMP.BODY`, in base64; with several secrets a message carries a signature by each, so that they
 * can be changed while both sides work:
 *
 *     webhook-id: msg_…
 *     webhook-timestamp: 1674087231
 *     webhook-signature: v1,BASE64 v1,BASE64
 */
import { createHmac, timingSafeEqual } from "node:crypto";

export const ID_HEADER = "webhook-id";
export const TIMESTAMP_HEADER = "webhook-timestamp";
export const SIGNATURE_HEADER = "webhook-signature";

/** More than anybody needs to change one for another. */
export const SECRETS_MAX = 4;
const SIGNATURE_CHARACTERS_MAX = 1000;
const KEY_BYTES_MIN = 16;
const ENCODED = "whsec_";

export interface SignedMessage {
  /** Of what is told: the same in every attempt. */
  readonly id: string;
  /** Seconds since 1970, in decimal. */
  readonly timestamp: string;
  readonly body: string;
}

/** Why this cannot be a secret; undefined: it can. */
export function checkSecret(secret: unknown): string | undefined {
  if (typeof secret !== "string") return "a secret is a text";
  if (secret.startsWith(ENCODED) && !/^[A-Za-z0-9+/]+={0,2}$/.test(secret.slice(ENCODED.length)))
    return "what follows whsec_ is base64";
  return keyOf(secret).length < KEY_BYTES_MIN
    ? `a secret has at least ${KEY_BYTES_MIN} bytes; whsec_ and base64, or any text`
    : undefined;
}

export function signMessage(
  secrets: readonly string[],
  { id, body }: Pick<SignedMessage, "id" | "body">,
  nowMs = Date.now(),
): Readonly<Record<string, string>> {
  const timestamp = String(Math.floor(nowMs / 1000));
  return {
    [ID_HEADER]: id,
    [TIMESTAMP_HEADER]: timestamp,
    [SIGNATURE_HEADER]: secrets.map((secret) => signatureOf(secret, { id, timestamp, body })).join(" "),
  };
}

/**
 * For receivers: is this what `secret` signs (or one of several, while they change), and not older or newer than
 * `toleranceSeconds`?
 * @param headers by their names in lower case, as Node has them
 */
export function verifyMessage(
  secret: string | readonly string[],
  {
    headers,
    body,
  }: {
    readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
    /** As it came: not parsed and written anew. */
    readonly body: string;
  },
  { toleranceSeconds = 300, nowMs = Date.now() } = {},
): boolean {
  const text = (name: string): string => {
    const value = headers[name];
    return typeof value === "string" ? value : "";
  };
  const [id, timestamp] = [text(ID_HEADER), text(TIMESTAMP_HEADER)];
  const given = text(SIGNATURE_HEADER).slice(0, SIGNATURE_CHARACTERS_MAX).split(" ", SECRETS_MAX);
  const isSigned = [secret].flat().some((one) => {
    const wanted = Buffer.from(signatureOf(one, { id, timestamp, body }));
    return given.some((each) => isSame(wanted, Buffer.from(each)));
  });
  return (
    isSigned &&
    id !== "" &&
    /^[0-9]{1,12}$/.test(timestamp) &&
    Math.abs(nowMs / 1000 - Number(timestamp)) <= toleranceSeconds
  );
}

function signatureOf(secret: string, { id, timestamp, body }: SignedMessage): string {
  return `v1,${createHmac("sha256", keyOf(secret)).update(`${id}.${timestamp}.${body}`).digest("base64")}`;
}

function keyOf(secret: string): Buffer {
  return secret.startsWith(ENCODED)
    ? Buffer.from(secret.slice(ENCODED.length), "base64")
    : Buffer.from(secret, "utf8");
}

function isSame(wanted: Buffer, given: Buffer): boolean {
  return wanted.length === given.length && timingSafeEqual(wanted, given);
}
