/** Which entries of a pack are blobs that are worth keeping as chunks: whole ones, for a delta is small as it is. */
import { runInWorker } from "../../base/worker-pool.js";
import type { Pack } from "../../pack/pack.js";
import type { FindTask, LongEntry } from "./chunks/chunk-task.js";
import { longEntries } from "./chunks/lay-out-pack.js";

export const LARGE_BLOB_BYTES_MIN: number = 1024 * 1024;
/** What takes less than that, compressed, saves nothing that counts. */
const ENTRY_BYTES_MIN = 64 * 1024;
/** Entries of packs with more objects are looked for in a worker. */
const OBJECTS_HERE_MAX = 10_000;
const BLOB = 3;

export const CHUNK_WORKER: URL = new URL("./chunks/chunk-worker.js", import.meta.url);

export interface LargeBlob extends LongEntry {
  readonly sizeBytes: number;
}

/** In the order of their offsets. Asks nothing of a pack that is too small for one. @throws storage/io, object/corrupt */
export async function findLargeBlobs(pack: Pack, blobBytesMin: number): Promise<readonly LargeBlob[]> {
  if (pack.bytes.sizeBytes < ENTRY_BYTES_MIN || pack.index.version !== 2) return [];
  const found: LargeBlob[] = [];
  for (const entry of await longEntriesOf(pack)) {
    const { type, sizeBytes } = await pack.readEntryHeader(entry.offset);
    if (type === BLOB && sizeBytes >= blobBytesMin) found.push({ ...entry, sizeBytes });
  }
  return found;
}

async function longEntriesOf(pack: Pack): Promise<readonly LongEntry[]> {
  if (pack.objectCount <= OBJECTS_HERE_MAX) return longEntries(pack.offsets, ENTRY_BYTES_MIN);
  return runInWorker<FindTask, readonly LongEntry[]>(CHUNK_WORKER, {
    do: "find",
    objectFormat: pack.objectFormat,
    index: pack.index.bytes,
    packBytes: pack.bytes.sizeBytes,
    entryBytesMin: ENTRY_BYTES_MIN,
  });
}
