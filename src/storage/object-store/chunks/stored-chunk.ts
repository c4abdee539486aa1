/**
 * A chunk as it is kept: pieces of DEFLATE (RFC 1951) that stand for themselves, so that those of several chunks, one behind the
 * other, are the body of one zlib stream.
 *
 *     compressed   blocks that are not final, none of which looks back before the chunk, and an empty stored block
 *                  (`00 00 ff ff`: zlib's full flush), behind which the next chunk begins at a whole byte
 *     as it is     stored blocks that are not final, for what does not get smaller: `00`, length, its complement
 *                  (2 bytes each, little-endian), up to 65,535 bytes
 *
 * Example: `hello` is kept as `00 05 00 fa ff 68 65 6c 6c 6f`.
 */
import { hash } from "node:crypto";
import { constants, deflateRawSync, inflateRawSync } from "node:zlib";
import { corrupt } from "../tree/canonical-bytes.js";
import { CHUNK_BYTES_MAX } from "./chunk-boundary.js";

const STORED_BLOCK_BYTES_MAX = 65_535;
const STORED_HEAD_BYTES = 5;
/** A final block without anything in it. */
export const FINAL_BLOCK: Buffer = Buffer.of(0x03, 0x00);

/** What is looked at to see whether compressing pays, and how much it has to save. */
const PROBE_BYTES = 16 * 1024;
const PROBE_SAVES_MIN = 0.03;

export const STORED_CHUNK_BYTES_MAX: number = storedLength(CHUNK_BYTES_MAX);

/** Lower-case hexadecimal SHA-256 of the chunk itself, whatever it is kept as. */
export function chunkIdOf(chunk: Uint8Array): string {
  return hash("sha256", chunk, "hex");
}

/** Never more than the chunk and five bytes for each 64 KiB of it. */
export function storeChunk(chunk: Uint8Array): Buffer {
  if (!isCompressible(chunk)) return asItIs(chunk);
  const deflated = deflateRawSync(chunk, { level: 6, finishFlush: constants.Z_FULL_FLUSH });
  return deflated.length < storedLength(chunk.length) ? deflated : asItIs(chunk);
}

/** Compresses a little of it in a quick way: of what is compressed already, one sees it there. */
function isCompressible(chunk: Uint8Array): boolean {
  const probe = chunk.subarray(0, PROBE_BYTES);
  const deflated = deflateRawSync(probe, { level: 1 });
  return deflated.length < probe.length * (1 - PROBE_SAVES_MIN);
}

function storedLength(bytes: number): number {
  return bytes + STORED_HEAD_BYTES * Math.ceil(bytes / STORED_BLOCK_BYTES_MAX);
}

function asItIs(chunk: Uint8Array): Buffer {
  const out = Buffer.allocUnsafeSlow(storedLength(chunk.length));
  let to = 0;
  for (let from = 0; from < chunk.length; from += STORED_BLOCK_BYTES_MAX) {
    const part = chunk.subarray(from, from + STORED_BLOCK_BYTES_MAX);
    out[to] = 0;
    out.writeUInt16LE(part.length, to + 1);
    out.writeUInt16LE(STORED_BLOCK_BYTES_MAX - part.length, to + 3);
    out.set(part, to + STORED_HEAD_BYTES);
    to += STORED_HEAD_BYTES + part.length;
  }
  return out;
}

interface Inflated {
  readonly buffer: Buffer;
  /** `bytesWritten` to it: what it has read of the stream. */
  readonly engine: { readonly bytesWritten: number };
}

/**
 * The chunk again, checked.
 * @param sizeBytes of the chunk; nothing larger is made
 * @throws storage/corrupt
 */
export function readStoredChunk(stored: Uint8Array, expected: { id: string; sizeBytes: number }): Buffer {
  const what = `a chunk (${expected.id})`;
  if (expected.sizeBytes > CHUNK_BYTES_MAX)
    throw corrupt(what, `it is said to have ${expected.sizeBytes} bytes`);
  const stream = Buffer.concat([stored, FINAL_BLOCK]);
  let inflated: Inflated;
  try {
    const options = { maxOutputLength: Math.max(expected.sizeBytes, 1), info: true };
    // With `info` it is more than the bytes, which its declaration does not know.
    inflated = inflateRawSync(stream, options) as unknown as Inflated;
  } catch (cause) {
    throw corrupt(what, cause instanceof Error ? cause.message : "it cannot be inflated");
  }
  const { buffer: chunk, engine } = inflated;
  // What ends by itself would end the entry that is spliced from it.
  if (engine.bytesWritten !== stream.length) throw corrupt(what, "it has a final block");
  if (chunk.length !== expected.sizeBytes) throw corrupt(what, `it has ${chunk.length} bytes`);
  if (chunkIdOf(chunk) !== expected.id) throw corrupt(what, "its bytes do not hash to its name");
  return chunk;
}
