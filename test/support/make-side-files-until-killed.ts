/**
 * A process for `side-files-crash.test.ts`: makes the multi-pack-index of a repository, its bitmaps and a layer of its commit-graph,
 * and is killed right before the n-th call that changes a directory. Ends with 0 when fewer are needed.
 *
 *     node make-side-files-until-killed.js DIRECTORY N
 */
import { closeWorkerPool } from "../../src/base/worker-pool.js";
import { refreshMultiPackIndex } from "../../src/engine/maintenance/refresh-multi-pack-index.js";
import { refreshCommitGraph } from "../../src/engine/maintenance/refresh-side-files.js";
import { openDiskRepositoryAt } from "../../src/storage/disk/disk-repository-store.js";
import { killBeforeCall } from "./kill-before-call.js";

const [directory = "", at = "0"] = process.argv.slice(2);
const repository = await openDiskRepositoryAt(directory);
killBeforeCall(Number(at));
for (const refresh of [refreshMultiPackIndex, refreshCommitGraph]) {
  const { kind } = await refresh(repository);
  if (kind !== "written") throw new Error(kind);
}
await repository.close();
await closeWorkerPool();
