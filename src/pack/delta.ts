/**
 * Applying deltas. Specification: gitformat-pack, "Deltified representation".
 *
 *     base size, result size (7 bits a byte, low bits first), then instructions:
 *     1xxxxxxx  copy from the base: offset in the next 0–4 bytes (bits 0–3), size in the next 0–3 (bits 4–6; 0 = 65,536)
 *     0xxxxxxx  insert the next x bytes; 0 is reserved
 */
import { GitwharfError } from "../base/errors.js";

export interface DeltaSizes {
  readonly baseSizeBytes: number;
  readonly resultSizeBytes: number;
  /** Where the instructions begin. */
  readonly headerLength: number;
}

/** @throws pack/bad-delta when the bytes end before the two sizes do */
export function deltaSizes(delta: Uint8Array): DeltaSizes {
  const sizes = [0, 0];
  let at = 0;
  for (let i = 0; i < 2; i++) {
    let scale = 1;
    let byte: number | undefined;
    do {
      byte = delta[at++];
      if (byte === undefined || scale > 2 ** 49) throw bad("its sizes are not whole");
      sizes[i] = (sizes[i] as number) + (byte & 0x7f) * scale;
      scale *= 128;
    } while (byte & 0x80);
  }
  return { baseSizeBytes: sizes[0] as number, resultSizeBytes: sizes[1] as number, headerLength: at };
}

/**
 * Allocates the result size that the delta names: the caller has checked it against its limits.
 * @throws pack/bad-delta
 */
export function applyDelta(base: Buffer, delta: Buffer): Buffer {
  const { baseSizeBytes, resultSizeBytes, headerLength } = deltaSizes(delta);
  if (baseSizeBytes !== base.length)
    throw bad(`it is for a base of ${baseSizeBytes} bytes, not ${base.length}`);
  const out = Buffer.allocUnsafe(resultSizeBytes);
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
      if (size < 32) for (let i = 0; i < size; i++) out[to + i] = base[from + i] as number;
      else base.copy(out, to, from, from + size);
      to += size;
    } else if (code > 0) {
      if (at + code > end || to + code > resultSizeBytes) throw bad("it inserts past an end");
      if (code < 32) for (let i = 0; i < code; i++) out[to + i] = delta[at + i] as number;
      else delta.copy(out, to, at, at + code);
      at += code;
      to += code;
    } else throw bad("it has an instruction that does not exist");
  }
  if (to !== resultSizeBytes) throw bad(`it makes ${to} bytes instead of ${resultSizeBytes}`);
  return out;
}

function bad(why: string): GitwharfError {
  return new GitwharfError("pack/bad-delta", `a delta is malformed: ${why}`);
}
