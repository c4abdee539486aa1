/** Makes commit-graphs, their layers and bitmaps in a worker thread: see `make-side-files.ts`. */
import type { ObjectId } from "../../object/object-id.js";
import { formatCommitGraph } from "../../pack/commit-graph-writer.js";
import type { ObjectReaderDescriptor } from "../../storage/contracts/object-reader.js";
import { openObjectReader } from "../../storage/object-database.js";
import { unlimitedBudget } from "../fetch/work-budget.js";
import { buildPackBitmap, type PackBitmapOutcome } from "./build-pack-bitmap.js";
import { buildCommitGraphLayer, type CommitGraphLayer } from "./build-commit-graph-layer.js";
import { gatherCommits } from "./gather-commits.js";

export interface SideFileTask {
  readonly make: "commit-graph" | "commit-graph-layer" | "bitmap";
  /** Of `commit-graph-layer`: checksums of the layers that it may stand upon. */
  readonly layers?: readonly string[];
  readonly objects: ObjectReaderDescriptor;
  readonly tips: readonly ObjectId[];
}

export default async function makeInWorker(
  task: SideFileTask,
): Promise<SharedArrayBuffer | CommitGraphLayer | undefined | PackBitmapOutcome> {
  const objects = openObjectReader(task.objects, { blocking: true });
  const budget = unlimitedBudget();
  if (task.make === "bitmap") return buildPackBitmap(objects, task.tips, budget);
  if (task.make === "commit-graph-layer")
    return buildCommitGraphLayer(objects, task.tips, task.layers ?? [], budget);
  return formatCommitGraph((await gatherCommits(objects, task.tips, budget)).commits);
}
