/**
 * Reading an object whose bytes are there, at once: the fast way, for nearly all objects. Deltas are inflated side
 * by side into scratch space and applied inside one block of memory (`resolved-objects.ts`); the only allocation is
 * the result. Objects that are too large for it are left to `delta-chain.ts`.
 */
import { isPromise } from "../base/maybe-promise.js";
import { applyDeltaWithin, type DeltaPlaces, deltaSizes } from "./delta.js";
import { entryTypeOf, objectTypeOf, OFS_DELTA } from "./entry-header.js";
import { inflateInto, OUTPUT_SLACK_BYTES, tryInflateAt } from "./inflate.js";
import {
  baseOffsetOf,
  compressedBound,
  corruptEntry,
  entryHeaderAt,
  type EntrySource,
  type PackedObject,
  reasonOf,
} from "./packed-entry.js";
import { ResolvedObjects } from "./resolved-objects.js";
import { allocateBytes } from "./slab.js";

/** Resolved objects of this thread; resident as it fills. */
const CACHE_BYTES = 32 * 1024 * 1024;
/** For the deltas of one chain. */
const SCRATCH_BYTES = 1024 * 1024;
const DEPTH_MAX = 512;
/** Larger objects are inflated piece by piece. */
const WHOLE_BYTES_MAX = 1024 * 1024;
/** Most entries and their heads are found in one read of this size. */
const FIRST_READ_BYTES = 4096;

const resolved = new ResolvedObjects(CACHE_BYTES, SCRATCH_BYTES);
/** The deltas of the chain that is being followed: their entries, and where they stand in the scratch space. */
const offsets = new Float64Array(DEPTH_MAX);
const starts = new Int32Array(DEPTH_MAX);
const ends = new Int32Array(DEPTH_MAX);
const places: DeltaPlaces = { base: 0, baseLength: 0, delta: 0, deltaEnd: 0, result: 0, resultLength: 0 };

/**
 * @returns a promise when bytes have to be waited for (call again then); undefined when the object cannot be read
 *   this way
 * @throws object/corrupt, storage/io
 */
export function readResident(
  source: EntrySource,
  start: number,
): PackedObject | Promise<unknown> | undefined {
  let offset = start;
  let depth = 0;
  let scratchAt = resolved.scratch;
  try {
    for (;;) {
      const slot = resolved.find(source.number, offset);
      if (slot >= 0) return depth === 0 ? copyOut(slot) : applyChain(source, slot, depth);
      let bytes = source.bytes.read(offset, FIRST_READ_BYTES);
      if (isPromise(bytes)) return bytes;
      const header = entryHeaderAt(source, bytes, offset);
      const { type, sizeBytes, headerLength } = header;
      const isDelta = type >= OFS_DELTA;
      if (isDelta) {
        if (depth === DEPTH_MAX || scratchAt + sizeBytes + OUTPUT_SLACK_BYTES > resolved.scratchEnd)
          return undefined;
      } else if (sizeBytes > (depth === 0 ? WHOLE_BYTES_MAX : resolved.objectBytesMax)) return undefined;
      for (;;) {
        if (isDelta) {
          if (inflateInto(bytes, headerLength, resolved.memory, scratchAt, sizeBytes) >= 0) break;
        } else if (depth > 0) {
          const to = resolved.reserve(sizeBytes);
          if (inflateInto(bytes, headerLength, resolved.memory, to, sizeBytes) >= 0) break;
        } else {
          const inflated = tryInflateAt(bytes, headerLength, sizeBytes);
          if (inflated !== "short") return { type: typeOf(type), data: inflated.data };
        }
        const longer = source.bytes.read(
          offset,
          Math.max(bytes.length * 2, headerLength + compressedBound(sizeBytes)),
        );
        if (isPromise(longer)) return longer;
        if (longer.length <= bytes.length) throw corruptEntry(source, offset, "the pack ends in it");
        bytes = longer;
      }
      if (!isDelta) return applyChain(source, resolved.add(source.number, offset, type, sizeBytes), depth);
      offsets[depth] = offset;
      starts[depth] = scratchAt;
      scratchAt += sizeBytes;
      ends[depth] = scratchAt;
      depth++;
      const base = baseOffsetOf(source, header, offset);
      if (base === undefined) return undefined;
      offset = base;
    }
  } catch (cause) {
    throw corruptEntry(source, offset, reasonOf(cause), cause);
  }
}

/** Keeps an object that was resolved elsewhere, if it fits. */
export function keepResolved(source: EntrySource, offset: number, object: PackedObject): void {
  const { length } = object.data;
  if (length > resolved.objectBytesMax) return;
  const to = resolved.reserve(length);
  resolved.memory.set(object.data, to);
  resolved.add(source.number, offset, entryTypeOf(object.type), length);
}

/** A copy of what is kept for an entry. */
export function findResolved(source: EntrySource, offset: number): PackedObject | undefined {
  const slot = resolved.find(source.number, offset);
  return slot < 0 ? undefined : copyOut(slot);
}

function applyChain(source: EntrySource, baseSlot: number, depth: number): PackedObject | undefined {
  const { memory } = resolved;
  const type = resolved.typeAt(baseSlot);
  let slot = baseSlot;
  for (let i = depth - 1; i >= 0; i--) {
    const offset = offsets[i] as number;
    try {
      const start = starts[i] as number;
      places.deltaEnd = ends[i] as number;
      const { baseSizeBytes, resultSizeBytes, headerLength } = deltaSizes(memory, start, places.deltaEnd);
      places.delta = start + headerLength;
      places.baseLength = resolved.lengthAt(slot);
      if (baseSizeBytes !== places.baseLength)
        throw corruptEntry(source, offset, "its delta is for another base");
      if (resultSizeBytes > resolved.objectBytesMax) return undefined;
      places.base = resolved.hold(slot, resultSizeBytes);
      places.result = resolved.reserve(resultSizeBytes);
      places.resultLength = resultSizeBytes;
      applyDeltaWithin(memory, places);
      slot = resolved.add(source.number, offset, type, resultSizeBytes);
    } catch (cause) {
      throw corruptEntry(source, offset, reasonOf(cause), cause);
    }
  }
  return copyOut(slot);
}

function copyOut(slot: number): PackedObject {
  const length = resolved.lengthAt(slot);
  const data = allocateBytes(length);
  const from = resolved.startAt(slot);
  resolved.memory.copy(data, 0, from, from + length);
  return { type: typeOf(resolved.typeAt(slot)), data };
}

function typeOf(type: number): PackedObject["type"] {
  return objectTypeOf(type) as PackedObject["type"];
}
