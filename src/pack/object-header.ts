/**
 * Type and size of an object without its content: the heads of a chain of deltas, and the beginning of the first
 * delta, which names the size. What type a chain ends in is remembered, so that a chain is followed once.
 */
import { isPromise, ready, type Steps } from "../base/maybe-promise.js";
import { deltaSizes } from "./delta.js";
import { objectTypeOf } from "./entry-header.js";
import { inflatePrefix } from "./inflate.js";
import { readExternal } from "./delta-chain.js";
import {
  baseOffsetOf,
  corruptEntry,
  entryHeaderAt,
  type EntrySource,
  type ExternalObjects,
  type PackedObjectHeader,
  reasonOf,
} from "./packed-entry.js";

/** Enough for the head of an entry, deflate's longest table of codes (some 290 bytes), and what follows it. */
const READ_BYTES = 512;
/** The two sizes at the head of any delta. */
const DELTA_SIZES_BYTES_MAX = 20;

/** Types by entry, the last one to come keeps the place. 208 KiB a thread. */
const PLACES = 16_384;
const knownOwners = new Uint32Array(PLACES);
const knownOffsets = new Float64Array(PLACES);
const knownTypes = new Uint8Array(PLACES);

/** The entries that a chain led through; only so many are remembered. */
const REMEMBERED_MAX = 64;
const visited = new Float64Array(REMEMBERED_MAX);

interface Step {
  readonly base: number | undefined;
  readonly baseOid: string | undefined;
  readonly type: number;
  readonly sizeBytes: number;
}

/** As `readResident`: a promise means to call again, undefined that a base lies outside of the pack. */
export function readResidentHeader(
  source: EntrySource,
  start: number,
): PackedObjectHeader | Promise<unknown> | undefined {
  let offset = start;
  let sizeBytes = -1;
  for (let steps = 0; steps <= source.index.objectCount; steps++) {
    let type = sizeBytes < 0 ? 0 : knownType(source, offset);
    let base: number | undefined;
    if (type === 0) {
      const bytes = source.bytes.read(offset, READ_BYTES);
      if (isPromise(bytes)) return bytes;
      const step = readStep(source, bytes, offset, sizeBytes);
      ({ type, base, sizeBytes } = step);
    }
    const found = objectTypeOf(type);
    if (found !== undefined) {
      for (let i = Math.min(steps, REMEMBERED_MAX) - 1; i >= 0; i--)
        remember(source, visited[i] as number, type);
      return { type: found, sizeBytes };
    }
    if (base === undefined) return undefined;
    if (steps < REMEMBERED_MAX) visited[steps] = offset;
    offset = base;
  }
  throw corruptEntry(source, start, "its deltas run in a circle");
}

/** The same, waiting for bytes and following the chain out of the pack. @throws object/corrupt, storage/io */
export function* readChainHeader(
  source: EntrySource,
  start: number,
  external: ExternalObjects | undefined,
): Steps<PackedObjectHeader> {
  let offset = start;
  let sizeBytes = -1;
  for (let steps = 0; steps <= source.index.objectCount; steps++) {
    const step = readStep(source, yield* ready(source.bytes.read(offset, READ_BYTES)), offset, sizeBytes);
    sizeBytes = step.sizeBytes;
    const type = objectTypeOf(step.type);
    if (type !== undefined) return { type, sizeBytes };
    if (step.base === undefined) {
      return { type: (yield* readExternal(source, offset, step.baseOid ?? "", external)).type, sizeBytes };
    }
    offset = step.base;
  }
  throw corruptEntry(source, start, "its deltas run in a circle");
}

/** @param known the object's size when an earlier delta has told it, else −1 */
function readStep(source: EntrySource, bytes: Buffer, offset: number, known: number): Step {
  const header = entryHeaderAt(source, bytes, offset);
  const { type, baseOid } = header;
  if (objectTypeOf(type) !== undefined) {
    return { type, base: undefined, baseOid, sizeBytes: known < 0 ? header.sizeBytes : known };
  }
  const base = baseOffsetOf(source, header, offset);
  if (known >= 0) return { type, base, baseOid, sizeBytes: known };
  try {
    const beginning = inflatePrefix(
      bytes,
      header.headerLength,
      Math.min(DELTA_SIZES_BYTES_MAX, header.sizeBytes),
    );
    return { type, base, baseOid, sizeBytes: deltaSizes(beginning).resultSizeBytes };
  } catch (cause) {
    throw corruptEntry(source, offset, reasonOf(cause), cause);
  }
}

function placeOf(source: EntrySource, offset: number): number {
  const h = Math.imul((offset | 0) ^ Math.imul(source.number, 0x85ebca6b), 0x9e3779b1);
  return (h ^ (h >>> 15)) & (PLACES - 1);
}

function knownType(source: EntrySource, offset: number): number {
  const place = placeOf(source, offset);
  return knownOffsets[place] === offset && knownOwners[place] === source.number
    ? (knownTypes[place] as number)
    : 0;
}

function remember(source: EntrySource, offset: number, type: number): void {
  const place = placeOf(source, offset);
  knownOwners[place] = source.number;
  knownOffsets[place] = offset;
  knownTypes[place] = type;
}
