/**
 * Adler-32, the checksum at the end of a zlib stream. Specification: RFC 1950. Node's zlib computes it but does not hand it out.
 *
 * With A the sum of 1 and all bytes and B the sum of A after each byte, both modulo 65,521, it is B · 2^16 + A.
 */
const MODULUS = 65_521;
/** So many bytes cannot take B past 2^31: n · 65,520 + 255 · n · (n + 1) / 2 and what was there. */
const STRETCH = 3800;

/** Of no bytes. */
export const ADLER32_EMPTY = 1;

export function adler32(bytes: Uint8Array): number {
  let a = 1;
  let b = 0;
  for (let at = 0; at < bytes.length; ) {
    const end = Math.min(at + STRETCH, bytes.length);
    for (; at < end; at++) {
      a = (a + (bytes[at] as number)) | 0;
      b = (b + a) | 0;
    }
    a %= MODULUS;
    b %= MODULUS;
  }
  return b * 65_536 + a;
}

/**
 * Of two pieces of bytes one behind the other. Every byte of the second finds an A that is larger by A(first) − 1
 * than in the second by itself, and B sums these.
 */
export function combineAdler32(first: number, second: number, secondBytes: number): number {
  const a1 = first % 65_536;
  const b1 = Math.floor(first / 65_536);
  const a2 = second % 65_536;
  const b2 = Math.floor(second / 65_536);
  const a = (a1 + a2 + MODULUS - 1) % MODULUS;
  const b = (b1 + b2 + (secondBytes % MODULUS) * ((a1 + MODULUS - 1) % MODULUS)) % MODULUS;
  return b * 65_536 + a;
}
