/** The hash of a spooled pack under another head (a completed thin pack has more objects than were sent). */
import { createObjectHash, type ObjectFormat } from "../../object/object-format.js";
import type { Spool } from "./spool.js";

const PIECE_BYTES = 256 * 1024;

/** @param head takes the place of the first bytes. @returns hexadecimal @throws storage/io */
export function hashSpool(spool: Spool, head: Uint8Array, objectFormat: ObjectFormat): string {
  const hash = createObjectHash(objectFormat);
  hash.update(head);
  const piece = Buffer.allocUnsafeSlow(PIECE_BYTES);
  for (let at = head.length; at < spool.sizeBytes; ) {
    const length = spool.read(piece, 0, PIECE_BYTES, at);
    hash.update(piece.subarray(0, length));
    at += length;
  }
  return hash.digest("hex");
}
