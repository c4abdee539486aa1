/**
 * Applying deltas. Specification: gitformat-pack, "Deltified representation".
 *
 *     base size, result size (7 bits a byte, low bits first), then instructions:
 *     1xxxxxxx  copy from the base: offset in the next 0–4 bytes (bits 0–3), size in the next 0–3 (bits 4–6; 0 = 65,536)
 *     0xxxxxxx  insert the next x bytes; 0 is reserved
 */
import { GitwharfError } from "../base/errors.js";
import { allocateBytes } from "./slab.js";

/** Up to here a loop copies faster than a view and a call. */
const LOOP_BYTES_MAX = 12;

export interface DeltaSizes {
  readonly baseSizeBytes: number;
  readonly resultSizeBytes: number;
  /** Where the instructions begin. */
  readonly headerLength: number;
}

/** @throws pack/bad-delta when the bytes end before the two sizes do */
export function deltaSizes(delta: Uint8Array, start = 0, end = delta.length): DeltaSizes {
  let at = start;
  let baseSizeBytes = 0;
  let resultSizeBytes = 0;
  for (let scale = 1, byte = 0x80; byte & 0x80; scale *= 128) {
    if (at >= end || scale > 2 ** 49) throw bad("its sizes are not whole");
    byte = delta[at++] as number;
    baseSizeBytes += (byte & 0x7f) * scale;
  }
  for (let scale = 1, byte = 0x80; byte & 0x80; scale *= 128) {
    if (at >= end || scale > 2 ** 49) throw bad("its sizes are not whole");
    byte = delta[at++] as number;
    resultSizeBytes += (byte & 0x7f) * scale;
  }
  return { baseSizeBytes, resultSizeBytes, headerLength: at - start };
}

/**
 * Allocates the result size that the delta names: the caller has checked it against its limits.
 * @throws pack/bad-delta
 */
export function applyDelta(base: Buffer, delta: Buffer): Buffer {
  const { baseSizeBytes, resultSizeBytes, headerLength } = deltaSizes(delta);
  if (baseSizeBytes !== base.length)
    throw bad(`it is for a base of ${baseSizeBytes} bytes, not ${base.length}`);
  const out = allocateBytes(resultSizeBytes);
  const end = delta.length;
  let at = headerLength;
  let to = 0;
  while (at < end) {
    const code = delta[at++] as number;
    if (code & 0x80) {
      let from = 0;
      let size = 0;
      if (code & 0x01) from = delta[at++] as number;
      if (code & 0x02) from |= (delta[at++] as number) << 8;
      if (code & 0x04) from |= (delta[at++] as number) << 16;
      if (code & 0x08) from += (delta[at++] as number) * 0x1000000;
      if (code & 0x10) size = delta[at++] as number;
      if (code & 0x20) size |= (delta[at++] as number) << 8;
      if (code & 0x40) size |= (delta[at++] as number) << 16;
      if (size === 0) size = 0x10000;
      if (at > end || from + size > base.length || to + size > resultSizeBytes)
        throw bad("it copies past an end");
      if (size <= LOOP_BYTES_MAX) for (let i = 0; i < size; i++) out[to + i] = base[from + i] as number;
      else out.set(new Uint8Array(base.buffer, base.byteOffset + from, size), to);
      to += size;
    } else if (code > 0) {
      if (at + code > end || to + code > resultSizeBytes) throw bad("it inserts past an end");
      if (code <= LOOP_BYTES_MAX) for (let i = 0; i < code; i++) out[to + i] = delta[at + i] as number;
      else out.set(new Uint8Array(delta.buffer, delta.byteOffset + at, code), to);
      at += code;
      to += code;
    } else throw bad("it has an instruction that does not exist");
  }
  if (to !== resultSizeBytes) throw bad(`it makes ${to} bytes instead of ${resultSizeBytes}`);
  return out;
}

/** Where base and delta stand in one block of memory, and where the result goes. */
export interface DeltaPlaces {
  base: number;
  baseLength: number;
  /** Of the instructions, behind the sizes. */
  delta: number;
  deltaEnd: number;
  /** `resultLength` bytes, apart from base and delta. */
  result: number;
  resultLength: number;
}

/**
 * The same as `applyDelta` inside one block, twice as fast: `copyWithin` needs no view of the source.
 * @throws pack/bad-delta
 */
export function applyDeltaWithin(memory: Buffer, places: DeltaPlaces): void {
  const { base, baseLength, deltaEnd: end, result, resultLength } = places;
  const resultEnd = result + resultLength;
  let at = places.delta;
  let to = result;
  while (at < end) {
    const code = memory[at++] as number;
    if (code & 0x80) {
      let from = 0;
      let size = 0;
      if (code & 0x01) from = memory[at++] as number;
      if (code & 0x02) from |= (memory[at++] as number) << 8;
      if (code & 0x04) from |= (memory[at++] as number) << 16;
      if (code & 0x08) from += (memory[at++] as number) * 0x1000000;
      if (code & 0x10) size = memory[at++] as number;
      if (code & 0x20) size |= (memory[at++] as number) << 8;
      if (code & 0x40) size |= (memory[at++] as number) << 16;
      if (size === 0) size = 0x10000;
      if (at > end || from + size > baseLength || to + size > resultEnd) throw bad("it copies past an end");
      memory.copyWithin(to, base + from, base + from + size);
      to += size;
    } else if (code > 0) {
      if (at + code > end || to + code > resultEnd) throw bad("it inserts past an end");
      memory.copyWithin(to, at, at + code);
      at += code;
      to += code;
    } else throw bad("it has an instruction that does not exist");
  }
  if (to !== resultEnd) throw bad(`it makes ${to - result} bytes instead of ${resultLength}`);
}

function bad(why: string): GitwharfError {
  return new GitwharfError("pack/bad-delta", `a delta is malformed: ${why}`);
}
