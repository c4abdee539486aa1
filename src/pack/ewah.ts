/**
 * EWAH compressed bitmaps, as they stand in `.bitmap` files. Specification: bitmap-format, "Appendix A".
 *
 *     OFFSET  SIZE   MEANING
 *     0       4      how many bits
 *     4       4      how many words, w
 *     8       w·8    words, big-endian
 *     …       4      position of the last running-length word
 *
 * A running-length word: bit 0 the repeated bit, bits 1–32 how many words repeat it, bits 33–63 how many literal
 * words follow.
 */
import { GitwharfError } from "../base/errors.js";
import { Bitset } from "./bitset.js";

export interface EwahBitmap {
  readonly bits: Bitset;
  readonly byteLength: number;
}

/** How long a bitmap is, without decoding it. @throws pack/bad-index */
export function ewahByteLength(bytes: Buffer, at: number): number {
  if (at + 12 > bytes.length) throw bad();
  const length = 12 + bytes.readUInt32BE(at + 4) * 8;
  if (at + length > bytes.length) throw bad();
  return length;
}

/** @param size numbers below it are kept. @throws pack/bad-index */
export function parseEwah(bytes: Buffer, at: number, size: number): EwahBitmap {
  const byteLength = ewahByteLength(bytes, at);
  const bits = new Bitset(Math.ceil(size / 64) * 64);
  const { words } = bits;
  const end = at + byteLength - 4;
  let p = at + 8;
  let out = 0;
  while (p < end) {
    const high = bytes.readUInt32BE(p);
    const low = bytes.readUInt32BE(p + 4);
    p += 8;
    const running = (low >>> 1) + (high & 1) * 2 ** 31;
    const literals = high >>> 1;
    if (running * 2 + out > words.length + 2 || p + literals * 8 > end) throw bad();
    if (low & 1) words.fill(0xffffffff, out, out + running * 2);
    out += running * 2;
    for (let i = 0; i < literals; i++, p += 8, out += 2) {
      if (out < words.length) {
        words[out] = bytes.readUInt32BE(p + 4);
        words[out + 1] = bytes.readUInt32BE(p);
      }
    }
  }
  return { bits, byteLength };
}

function bad(): GitwharfError {
  return new GitwharfError("pack/bad-index", "a bitmap is malformed");
}
