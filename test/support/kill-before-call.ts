/**
 * For processes that are killed right before the n-th call that changes a directory. Call it when all that is not to be counted is done.
 */
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";

let calls = 0;

/** @param at the n-th call that changes what stands in directories, to which all others lead up */
export function killBeforeCall(at: number): void {
  const watch = (holder: object, key: string, changes: (flags: unknown) => boolean = () => true): void => {
    const own: unknown = Reflect.get(holder, key);
    if (typeof own !== "function") throw new Error(`there is no ${key}`);
    Reflect.set(holder, key, (...args: readonly unknown[]): unknown => {
      if (changes(args[1]) && ++calls === at) process.kill(process.pid, "SIGKILL");
      return Reflect.apply(own, holder, args);
    });
  };
  for (const key of ["rename", "renameSync", "unlinkSync"]) watch(fs, key);
  for (const key of ["open", "openSync"]) watch(fs, key, (flags) => flags !== "r");
  for (const key of ["link", "rename", "unlink", "writeFile", "mkdir", "mkdtemp", "rmdir", "rm"])
    watch(fs.promises, key);
  syncBuiltinESMExports();
}
