/**
 * The tree of chunks: which bytes of a repository's packs are kept as chunks. Its keys are places in packs, its values recipes
 * (chunks/recipe.ts).
 *
 *     OFFSET  SIZE   MEANING
 *     0       8      number of the pack in the tree of packs, big-endian
 *     8       8      where in it the kept chunks of the blob begin, big-endian
 *
 * A place and not the blob's id: a blob may stand in two packs, kept by servers whose zlib compresses in two ways.
 */
import { corrupt } from "./canonical-bytes.js";
import { PACK_KEY_BYTES, packKey } from "./pack-leaves.js";

export function spliceKey(sequence: number, start: number): Buffer {
  return Buffer.concat([packKey(sequence), packKey(start)]);
}

/** @throws storage/corrupt */
export function splicePlace(key: Buffer): { readonly sequence: number; readonly start: number } {
  if (key.length !== 2 * PACK_KEY_BYTES) throw corrupt("a place in a pack", `it has ${key.length} bytes`);
  const [sequence, start] = [key.readBigUInt64BE(0), key.readBigUInt64BE(PACK_KEY_BYTES)];
  if (sequence > Number.MAX_SAFE_INTEGER || start > Number.MAX_SAFE_INTEGER)
    throw corrupt("a place in a pack", "it is too large");
  return { sequence: Number(sequence), start: Number(start) };
}
