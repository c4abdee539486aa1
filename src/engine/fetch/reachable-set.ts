/**
 * Everything that some objects lead to, as bits by pack: made once for a state of the refs and used again, to answer
 * whether an object may be asked for, and as the ground from which the next, slightly larger set is made.
 * Plain data that crosses threads; names packs by key and keeps nothing open.
 */
import type { ObjectId } from "../../object/object-id.js";
import type { Pack } from "../../pack/pack.js";
import type { ObjectSpace } from "./object-space.js";
import { OrdinalSet } from "./ordinal-set.js";

export interface ReachableSet {
  /** What it was made from, without those that others of them lead to (some of which may remain). */
  readonly heads: readonly ObjectId[];
  readonly packs: readonly PackBits[];
  /** Reached objects that stood in no pack. */
  readonly outside: readonly ObjectId[];
}

export interface PackBits {
  /** Key and checksum. */
  readonly identity: string;
  /** By position in the index. In shared memory: not copied when it crosses. */
  readonly words: Uint32Array<SharedArrayBuffer>;
}

/** Objects that are looked up one by one when the packs around them have changed. */
const TRANSLATED_OBJECTS_MAX = 100_000;

export function packIdentity(pack: Pack): string {
  return `${pack.key} ${pack.index.packTrailer}`;
}

export function toReachableSet(
  space: ObjectSpace,
  reached: OrdinalSet,
  heads: readonly ObjectId[],
): ReachableSet {
  const packs = space.packs.map((pack, k) => {
    const from = (space.firsts[k] as number) / 32;
    const length = Math.ceil(pack.index.objectCount / 32);
    const words = new Uint32Array(new SharedArrayBuffer(length * 4));
    words.set(reached.words.subarray(from, from + length));
    return { identity: packIdentity(pack), words };
  });
  const outside: ObjectId[] = [];
  reached.forEachBetween(space.packedCount, space.size, (ordinal) => outside.push(space.oidOf(ordinal)));
  return { heads, packs, outside };
}

/**
 * The set in the numbers of a space. undefined when one of its packs has gone, or when too many objects would have
 * to be looked up because a larger pack has come.
 */
export function fromReachableSet(space: ObjectSpace, set: ReachableSet): OrdinalSet | undefined {
  const byIdentity = new Map(set.packs.map((bits) => [bits.identity, bits]));
  const reached = new OrdinalSet(space.packedCount);
  let known = 0;
  let translated = 0;
  let inOrder = true;
  for (const [k, pack] of space.packs.entries()) {
    const bits = byIdentity.get(packIdentity(pack));
    if (bits === undefined) {
      inOrder = false;
      continue;
    }
    known++;
    const first = space.firsts[k] as number;
    // With none but known packs before it, an object's number here is the one it had.
    if (inOrder) {
      reached.addWords(first, bits.words);
      continue;
    }
    translated += pack.index.objectCount;
    if (translated > TRANSLATED_OBJECTS_MAX) return undefined;
    const positions = new OrdinalSet(0);
    positions.addWords(0, bits.words);
    positions.forEach((position) => reached.add(space.ordinalOf(pack.index.oidAt(position))));
  }
  if (known < set.packs.length) return undefined;
  for (const oid of set.outside) reached.add(space.ordinalOf(oid));
  return reached;
}

/** Bytes of memory that a set holds. */
export function reachableSetBytes(set: ReachableSet): number {
  let bytes = 512 + (set.heads.length + set.outside.length) * 100;
  for (const { words, identity } of set.packs) bytes += words.byteLength + identity.length * 2 + 100;
  return bytes;
}
