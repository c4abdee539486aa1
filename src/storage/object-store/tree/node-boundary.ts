/**
 * Where a node of a tree ends. The rule is what makes trees independent of their history, so it is part of the format:
 * another rule is another tree for the same map.
 *
 * Entries of one level are taken in order. An entry e ends its node when, with
 *
 *     weight(e)  min(key bytes, 16) + value bytes + 4    about what it takes in the node: keys share prefixes
 *     raw(e)     key bytes + value bytes + 4             what it takes at most
 *     hash(e)    FNV-1a (32 bits) of the key, XOR level · 0x9e3779b1, mixed as MurmurHash3 mixes its end
 *
 * one of these holds, and in an inner node only when it is not the first:
 *
 *     strong     hash < weight / 4,096 · 2^32
 *     weak       hash < weight / 512 · 2^32, once the node's raw bytes with e are 16 KiB or more
 *     full       the node's raw bytes with e are 64 KiB or more
 *
 * The last node of a level ends where the entries do. The level above has an entry for each node, and so on up to the level
 * that has one node only: the root.
 *
 * Why the same map gives the same tree. Whether e ends its node follows from e and from the entries of that node before it,
 * never from what comes behind. So the cuts of a level are a function of its sequence of entries and of nothing else, level 0 is
 * a function of the map, and each level of the one below. An edit gets the same cuts as building anew when it begins
 * at the start of the node that it falls into (nothing before has changed, and no end looks ahead) and goes on until one
 * of its ends is the end of an old node: from there on both see the same entries from the same state.
 *
 * Why edits stay small. A strong end does not depend on the node (in inner nodes: on more than one entry of it), so both
 * sequences meet at the next one at the latest; 4,096 bytes of weight lie between two on average. A run without
 * one is cut by weak ends, which meet again soon, and only where even they are missing by size. That hardly comes about by
 * chance (with names of 40 bytes, 64 KiB without a weak end: e^-60). Who looks for names that have no ends can make a long
 * run of them, and one change at its beginning then writes the whole run again: as many bytes as the names that were pushed,
 * in that repository, and no more.
 *
 * Why a node is bounded. It is full at 64 KiB with at most one entry more: 64 KiB + KEY_BYTES_MAX + VALUE_BYTES_MAX + 4 raw bytes; an inner
 * node of two children, too. And why the tree is: a level above the leaves has at most half the nodes of the one
 * below, rounded up.
 */
export const KEY_BYTES_MAX = 16 * 1024;
export const VALUE_BYTES_MAX = 64 * 1024;
/** Of an entry, beside its key and value. */
export const ENTRY_BYTES = 4;

const WEAK_FROM_RAW_BYTES = 16 * 1024;
const FULL_RAW_BYTES = 64 * 1024;
/** No node has more. */
export const NODE_RAW_BYTES_MAX = FULL_RAW_BYTES + KEY_BYTES_MAX + VALUE_BYTES_MAX + ENTRY_BYTES;

const WEIGHED_KEY_BYTES_MAX = 16;
const STRONG_SCALE = 2 ** 32 / 4096;
const WEAK_SCALE = 2 ** 32 / 512;

export class NodeBoundary {
  readonly #level: number;
  #entries = 0;
  #rawBytes = 0;

  constructor(level: number) {
    this.#level = level;
  }

  /** Takes the next entry. @returns whether the node ends with it */
  add(key: Uint8Array, valueBytes: number): boolean {
    this.#entries++;
    this.#rawBytes += key.length + valueBytes + ENTRY_BYTES;
    if (!this.#ends(key, valueBytes)) return false;
    this.#entries = 0;
    this.#rawBytes = 0;
    return true;
  }

  #ends(key: Uint8Array, valueBytes: number): boolean {
    if (this.#level > 0 && this.#entries === 1) return false;
    if (this.#rawBytes >= FULL_RAW_BYTES) return true;
    const weight = Math.min(key.length, WEIGHED_KEY_BYTES_MAX) + valueBytes + ENTRY_BYTES;
    return (
      keyHash(key, this.#level) < weight * (this.#rawBytes >= WEAK_FROM_RAW_BYTES ? WEAK_SCALE : STRONG_SCALE)
    );
  }
}

export function keyHash(key: Uint8Array, level: number): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < key.length; i++) h = Math.imul(h ^ (key[i] as number), 0x01000193);
  h ^= Math.imul(level, 0x9e3779b1);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
