/**
 * Numbers of variable length, as in pack offsets: seven bits a byte, the highest first, each continued byte standing
 * for one more than its bits say. Specification: technical/reftable, "Varint encoding".
 *
 *     0x00 → 0    0x7f → 127    0x80 0x00 → 128    0x80 0x7f → 255    0x81 0x00 → 256
 */

/** Bytes of the longest number that is exact here, 2^53 − 1. */
export const VARINT_BYTES_MAX = 8;

/** @returns the offset after it */
export function writeVarint(target: Buffer, offset: number, value: number): number {
  const length = varintLength(value);
  let rest = value;
  for (let i = offset + length - 1; i >= offset; i--) {
    target[i] = (rest % 128) + (i === offset + length - 1 ? 0 : 128);
    rest = Math.floor(rest / 128) - 1;
  }
  return offset + length;
}

export function varintLength(value: number): number {
  let length = 1;
  for (let rest = Math.floor(value / 128); rest > 0; rest = Math.floor((rest - 1) / 128)) length++;
  return length;
}
