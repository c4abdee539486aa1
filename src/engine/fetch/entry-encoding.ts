/**
 * Heads of pack entries, written in place into a larger buffer: `pack/entry-header.ts` (which has the format)
 * without an allocation for each of some hundred thousand entries.
 */
/** Room that a head takes at most: ten bytes of size, ten of distance or a raw id. */
export const ENTRY_HEAD_BYTES_MAX = 48;

/** Writes type and size; answers where it ends. */
export function writeTypeAndSize(target: Uint8Array, at: number, type: number, sizeBytes: number): number {
  let left = Math.floor(sizeBytes / 16);
  let byte = (type << 4) | (sizeBytes % 16);
  let end = at;
  while (left > 0) {
    target[end++] = byte | 0x80;
    byte = left % 128;
    left = Math.floor(left / 128);
  }
  target[end++] = byte;
  return end;
}

/** Writes the distance of an offset delta; answers where it ends. */
export function writeDistance(target: Uint8Array, at: number, distance: number): number {
  let length = 1;
  for (let left = Math.floor(distance / 128); left > 0; left = Math.floor((left - 1) / 128)) length++;
  let left = distance;
  for (let i = at + length - 1; i >= at; i--) {
    target[i] = i === at + length - 1 ? left % 128 : 0x80 | (left % 128);
    left = Math.floor(left / 128) - 1;
  }
  return at + length;
}
