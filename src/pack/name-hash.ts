/**
 * The hash of a path by which git brings objects of like names together before it looks for deltas, as it stands in the
 * name-hash cache of bitmaps. The last sixteen characters decide. Specification: bitmap-format, "Name-hash cache".
 */

/** Bytes that are not white space move those before them two bits down. */
function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === 0x09 || byte === 0x0a || byte === 0x0d;
}

/** Goes on hashing a path. @param hash of what stands before, 0 in the beginning */
export function extendNameHash(hash: number, path: Uint8Array, start = 0, end = path.length): number {
  let value = hash;
  for (let at = start; at < end; at++) {
    const byte = path[at] as number;
    if (!isSpace(byte)) value = ((value >>> 2) + byte * 0x1000000) >>> 0;
  }
  return value;
}

/** How many characters of a name count. */
export function countedLength(name: Uint8Array, start: number, end: number): number {
  let count = 0;
  for (let at = start; at < end; at++) if (!isSpace(name[at] as number)) count++;
  return count;
}

/**
 * The hash of `directory/name` from the hashes of both; of the root directory that is 0. In paths of more than twelve
 * characters the lowest bit may be lost.
 */
export function joinNameHash(directory: number, name: number, nameLength: number): number {
  if (directory === 0) return name;
  if (nameLength >= 16) return name;
  const before = ((directory >>> 2) + 0x2f000000) >>> 0;
  return ((nameLength === 0 ? before : before >>> (2 * nameLength)) + name) >>> 0;
}
