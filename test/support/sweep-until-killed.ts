/**
 * A process for `sweep-crash.test.ts`: sweeps a repository and is killed right before the n-th call that changes a directory. Ends with 0
 * when the sweep needs fewer calls.
 *
 *     node sweep-until-killed.js DIRECTORY NAME N
 */
import { closeWorkerPool } from "../../src/base/worker-pool.js";
import { createDiskRepositoryStore } from "../../src/storage/disk/disk-repository-store.js";
import { sweepGarbage } from "../../src/engine/maintenance/sweep-garbage.js";
import { killBeforeCall } from "./kill-before-call.js";

const [directory = "", name = "", at = "0"] = process.argv.slice(2);
const store = createDiskRepositoryStore({ directory });
const repository = await store.open(name);
if (repository?.upkeep === undefined) throw new Error(`there is no repository '${name}'`);
killBeforeCall(Number(at));
const outcome = await sweepGarbage(repository.upkeep, { graceMs: 14 * 24 * 60 * 60 * 1000 });
if (outcome.kind !== "swept") throw new Error(outcome.kind);
await repository.close();
await store.close();
await closeWorkerPool();
