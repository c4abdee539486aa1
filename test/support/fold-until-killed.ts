/**
 * A process for `fold-crash.test.ts`: folds the packs of a repository and is killed right before the n-th call that
 * changes the disk. Ends with 0 when the fold needs fewer calls.
 *
 *     node fold-until-killed.js DIRECTORY NAME N
 */
import { closeWorkerPool } from "../../src/base/worker-pool.js";
import { createDiskRepositoryStore } from "../../src/storage/disk/disk-repository-store.js";
import { foldPacks } from "../../src/engine/maintenance/fold-packs.js";
import { killBeforeCall } from "./kill-before-call.js";

const [directory = "", name = "", at = "0"] = process.argv.slice(2);
const store = createDiskRepositoryStore({ directory });
const repository = await store.open(name);
if (repository?.packMaintenance === undefined) throw new Error(`there is no repository '${name}'`);
killBeforeCall(Number(at));
const outcome = await foldPacks(repository.packMaintenance);
if (outcome.kind !== "folded") throw new Error(outcome.kind);
await repository.close();
await store.close();
await closeWorkerPool();
