/**
 * The index over many packs and its bitmaps, made by a worker (`multi-pack-index-worker.ts`). Nothing here stores anything.
 */
import { runInWorker } from "../../base/worker-pool.js";
import type { ObjectId } from "../../object/object-id.js";
import type { PackToIndex } from "../../storage/contracts/multi-pack-index-store.js";
import type { MadeMultiPackIndex, MultiPackIndexTask } from "./multi-pack-index-worker.js";

export type { MadeMultiPackIndex } from "./multi-pack-index-worker.js";

const WORKER = new URL("./multi-pack-index-worker.js", import.meta.url);

/**
 * About 50 bytes of memory an object; with bitmaps 120, 4 for each reference between objects, and 64 MiB.
 * @param packs at least one
 * @param options.tips what the bitmaps are to be of: objects that refs name, branches first. @default none are made
 * @throws object/corrupt, pack/bad-index, storage/io, base/aborted
 */
export function makeMultiPackIndex(
  packs: readonly PackToIndex[],
  options: { readonly tips?: readonly ObjectId[] | undefined; readonly signal?: AbortSignal | undefined },
): Promise<MadeMultiPackIndex> {
  const { tips, signal } = options;
  const [first] = packs as readonly [PackToIndex];
  const task: MultiPackIndexTask = {
    objects: {
      objectFormat: first.pack.objectFormat,
      packs: packs.map(({ pack: { key, name, index, bytes } }) => ({
        key,
        name,
        index: index.bytes,
        bytes: bytes.describe(),
      })),
      looseDirectories: [],
      commitGraph: [],
    },
    modifiedSeconds: packs.map(({ modifiedSeconds }) => modifiedSeconds),
    tips,
  };
  return runInWorker<MultiPackIndexTask, MadeMultiPackIndex>(WORKER, task, { signal, isBackground: true });
}
