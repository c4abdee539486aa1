/**
 * Text of objects in messages: on one line of a terminal, and not of any length.
 */
const BYTES_MAX = 1000;

/** @param bytes as a byte string (latin1) */
export function readable(bytes: string): string {
  const text = Buffer.from(bytes.slice(0, BYTES_MAX), "latin1")
    .toString("utf8")
    .replaceAll(/\p{Cc}/gu, "?");
  return bytes.length > BYTES_MAX ? `${text}...` : text;
}
