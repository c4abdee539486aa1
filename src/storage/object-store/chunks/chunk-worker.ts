/** The worker's side of keeping blobs as chunks. */
import { invariant } from "../../../base/errors.js";
import type { ChunkTask } from "./chunk-task.js";
import { checkChunks, cutChunks, storeChunks } from "./chunk-work.js";
import { findLongEntries, indexPack, layOutPack } from "./lay-out-pack.js";

export default function runChunkTask(task: ChunkTask): unknown {
  switch (task.do) {
    case "cut":
      return cutChunks(task);
    case "store":
      // A clone of a view would carry all of its buffer.
      return storeChunks(task).map((bytes) => Uint8Array.from(bytes));
    case "check":
      return checkChunks(task);
    case "find":
      return findLongEntries(task);
    case "lay out":
      return layOutPack(task);
    case "index":
      return indexPack(task);
  }
  return invariant(false, "an unknown task");
}
