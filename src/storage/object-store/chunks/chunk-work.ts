/** Cutting, keeping and checking chunks: pure, and the same in a worker and where the caller is. */
import { isGitwharfError } from "../../../base/errors.js";
import { adler32 } from "./adler32.js";
import { ChunkBoundary } from "./chunk-boundary.js";
import type { CheckTask, CutChunk, CutTask, StoreTask } from "./chunk-task.js";
import { chunkIdOf, readStoredChunk, storeChunk } from "./stored-chunk.js";

/** Of a chunk that does not end in the bytes nothing is told, unless the blob does. */
export function cutChunks({ bytes, isLast }: Omit<CutTask, "do">): readonly CutChunk[] {
  const boundary = new ChunkBoundary();
  const chunks: CutChunk[] = [];
  for (let start = 0; start < bytes.length; ) {
    const found = boundary.next(bytes, start);
    if (found === -1 && !isLast) break;
    const end = found === -1 ? bytes.length : found;
    const chunk = bytes.subarray(start, end);
    chunks.push({ start, end, id: chunkIdOf(chunk), adler32: adler32(chunk) });
    start = end;
  }
  return chunks;
}

export function storeChunks({ bytes, ranges }: Omit<StoreTask, "do">): readonly Uint8Array[] {
  return ranges.map(({ start, end }) => storeChunk(bytes.subarray(start, end)));
}

/** @returns for each whether it is */
export function checkChunks({ chunks }: Omit<CheckTask, "do">): readonly boolean[] {
  return chunks.map(({ stored, ...expected }) => {
    try {
      readStoredChunk(stored, expected);
      return true;
    } catch (error) {
      if (isGitwharfError(error, "storage/corrupt")) return false;
      throw error;
    }
  });
}
