/**
 * A process for `fold-crash.test.ts`: folds the packs of a repository and is killed right before the n-th call that
 * changes the disk. Ends with 0 when the fold needs fewer calls.
 *
 *     node fold-until-killed.js DIRECTORY NAME N
 */
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { closeWorkerPool } from "../../src/base/worker-pool.js";
import { createDiskRepositoryStore } from "../../src/storage/disk/disk-repository-store.js";
import { foldPacks } from "../../src/engine/maintenance/fold-packs.js";

const [directory = "", name = "", at = "0"] = process.argv.slice(2);
let calls = 0;

function count(): void {
  if (++calls === Number(at)) process.kill(process.pid, "SIGKILL");
}

function watch(holder: object, key: string, changes: (flags: unknown) => boolean = () => true): void {
  const own: unknown = Reflect.get(holder, key);
  if (typeof own !== "function") throw new Error(`there is no ${key}`);
  Reflect.set(holder, key, (...args: readonly unknown[]): unknown => {
    if (changes(args[1])) count();
    return Reflect.apply(own, holder, args);
  });
}

const store = createDiskRepositoryStore({ directory });
const repository = await store.open(name);
if (repository?.packMaintenance === undefined) throw new Error(`there is no repository '${name}'`);
for (const key of ["write", "writeSync", "fsync", "rename", "renameSync", "unlinkSync"]) watch(fs, key);
for (const key of ["open", "openSync"]) watch(fs, key, (flags) => flags !== "r");
for (const key of ["link", "rename", "unlink", "writeFile", "mkdir", "mkdtemp", "rmdir", "rm"])
  watch(fs.promises, key);
syncBuiltinESMExports();
const outcome = await foldPacks(repository.packMaintenance);
if (outcome.kind !== "folded") throw new Error(outcome.kind);
await repository.close();
await store.close();
await closeWorkerPool();
