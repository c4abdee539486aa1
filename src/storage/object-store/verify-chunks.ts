/** Are the chunks of a root's large blobs there? Containers are streamed from the bucket, and each chunk that is named is inflated and hashed. */
import { throwIfAborted } from "../../base/errors.js";
import { runInWorker } from "../../base/worker-pool.js";
import type { Bucket } from "./bucket/bucket.js";
import { type ReadOutcome, unreadObject } from "./read-outcome.js";
import type { CheckTask } from "./chunks/chunk-task.js";
import { readRecipe, type RecipeChunk } from "./chunks/recipe.js";
import { CHUNK_WORKER } from "./large-blobs.js";
import type { NodeReader } from "./tree/node.js";
import type { PackLeaf } from "./tree/pack-leaves.js";
import { scanTree } from "./tree/prolly-tree.js";
import type { RootNode } from "./tree/root-node.js";
import { splicePlace } from "./tree/splice-keys.js";

/** Chunks that are checked by one task. */
const CHECKED_AT_ONCE = 32;

/** What a root says of chunks. */
export interface NamedChunks {
  /** By container, then by where they begin. */
  readonly containers: ReadonlyMap<string, ReadonlyMap<number, RecipeChunk>>;
  /** What does not fit together. */
  readonly faults: readonly string[];
}

/** @throws storage/corrupt, storage/io */
export async function readNamedChunks(
  nodes: NodeReader,
  { chunksRoot }: RootNode,
  leaves: readonly PackLeaf[],
): Promise<NamedChunks> {
  const values: { readonly sequence: number; readonly start: number; readonly value: Buffer }[] = [];
  await scanTree(nodes, chunksRoot, {}, (key, value) => {
    values.push({ ...splicePlace(key), value });
  });
  const containers = new Map<string, Map<number, RecipeChunk>>();
  const missing = new Map(
    leaves.map(({ sequence, packBytes, ownBytes = packBytes }) => [sequence, packBytes - ownBytes]),
  );
  const faults: string[] = [];
  for (const { sequence, start, value } of values) {
    const { chunks, storedBytes } = await readRecipe(nodes, value);
    const left = missing.get(sequence);
    if (left === undefined) faults.push(`a recipe at ${start} is of pack ${sequence}, which there is not`);
    else missing.set(sequence, left - storedBytes);
    for (const chunk of chunks) {
      const named = containers.get(chunk.containerKey) ?? new Map<number, RecipeChunk>();
      named.set(chunk.offset, chunk);
      containers.set(chunk.containerKey, named);
    }
  }
  for (const [sequence, left] of missing)
    if (left !== 0)
      faults.push(`the recipes of pack ${sequence} are not as long as what it lacks: ${left} bytes`);
  return { containers, faults };
}

/** @returns the bytes that were read, and what is wrong. @throws base/aborted */
export async function checkContainer(
  bucket: Bucket,
  key: string,
  named: ReadonlyMap<number, RecipeChunk>,
  signal: AbortSignal | undefined,
): Promise<ReadOutcome> {
  const chunks = [...named.values()].sort((a, b) => a.offset - b.offset);
  let sizeBytes = 0;
  let next = 0;
  let begun: Buffer = Buffer.alloc(0);
  let waiting: { stored: Uint8Array; id: string; sizeBytes: number }[] = [];
  let damaged = 0;
  const check = async (): Promise<void> => {
    const task: CheckTask = { do: "check", chunks: waiting };
    waiting = [];
    damaged += (await runInWorker<CheckTask, readonly boolean[]>(CHUNK_WORKER, task)).filter(
      (is) => !is,
    ).length;
  };
  try {
    for await (const bytes of bucket.stream(key, undefined, { signal })) {
      throwIfAborted(signal);
      begun = begun.length === 0 ? bytes : Buffer.concat([begun, bytes]);
      const begunAt = sizeBytes + bytes.length - begun.length;
      sizeBytes += bytes.length;
      for (let chunk = chunks[next]; chunk !== undefined; chunk = chunks[++next]) {
        const { offset, storedBytes, id } = chunk;
        if (offset + storedBytes > sizeBytes) break;
        const stored = Uint8Array.from(begun.subarray(offset - begunAt, offset - begunAt + storedBytes));
        waiting.push({ stored, id, sizeBytes: chunk.sizeBytes });
        if (waiting.length === CHECKED_AT_ONCE) await check();
      }
      const keepFrom = Math.min(chunks[next]?.offset ?? sizeBytes, sizeBytes);
      begun = begun.subarray(Math.max(keepFrom - begunAt, 0));
    }
    await check();
  } catch (error) {
    return unreadObject(bucket, key, sizeBytes, error);
  }
  damaged += chunks.length - next;
  if (damaged === 0) return { sizeBytes };
  return {
    sizeBytes,
    message: `${key} was changed: ${damaged} of its ${chunks.length} chunks that are needed are not what they were`,
  };
}
