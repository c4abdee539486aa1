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

/** What a running-length word can announce. Repetitions have 32 bits, which 2^37 objects would not fill. */
const LITERALS_MAX = 0x7fffffff;

/** How many 64-bit words the compressed form of `bits` has, or that of its difference from `base`. */
export function measureEwah(bits: Bitset, base?: Bitset): number {
  return compress(bits, base, undefined);
}

/** The compressed form of `bits`, or of its difference from `base`, of the same size. */
export function formatEwah(bits: Bitset, base?: Bitset): Buffer {
  const out = Buffer.alloc(12 + measureEwah(bits, base) * 8);
  compress(bits, base, out);
  return out;
}

/** Measures, and writes when there is something to write to. Zeros at the end are left out, as git does. */
function compress(bits: Bitset, base: Bitset | undefined, out: Buffer | undefined): number {
  const words = bits.words;
  const other = base?.words;
  const n = words.length;
  let head = 0;
  let count = 1;
  let bit = 0;
  let running = 0;
  let literals = 0;
  let zeros = 0;
  let at = 0;
  let size = 0;
  const closeHead = (): void => {
    out?.writeUInt32BE((literals * 2 + (running >= 0x80000000 ? 1 : 0)) >>> 0, 8 + head * 8);
    out?.writeUInt32BE(((running * 2) | bit) >>> 0, 12 + head * 8);
  };
  const openHead = (): void => {
    closeHead();
    head = count++;
    bit = 0;
    running = 0;
    literals = 0;
  };
  const repeat = (value: number, times: number): void => {
    if (literals > 0 || (running > 0 && bit !== value)) openHead();
    bit = value;
    running += times;
  };
  for (; at < n; at += 2) {
    let low = words[at] as number;
    let high = at + 1 < n ? (words[at + 1] as number) : 0;
    if (other !== undefined) {
      low = (low ^ (other[at] as number)) >>> 0;
      if (at + 1 < n) high = (high ^ (other[at + 1] as number)) >>> 0;
    }
    if (low === 0 && high === 0) {
      zeros++;
      continue;
    }
    if (zeros > 0) {
      repeat(0, zeros);
      zeros = 0;
    }
    size = at / 2 + 1;
    if (low === 0xffffffff && high === 0xffffffff) repeat(1, 1);
    else {
      if (literals === LITERALS_MAX) openHead();
      literals++;
      out?.writeUInt32BE(high, 8 + count * 8);
      out?.writeUInt32BE(low, 12 + count * 8);
      count++;
    }
  }
  closeHead();
  out?.writeUInt32BE(size * 64, 0);
  out?.writeUInt32BE(count, 4);
  out?.writeUInt32BE(head, 8 + count * 8);
  return count;
}

function bad(): GitwharfError {
  return new GitwharfError("pack/bad-index", "a bitmap is malformed");
}
