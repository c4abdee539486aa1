/**
 * How much stands in directories that a program may write to, looked at again and again while it runs: the file system may
 * have no quotas. Never follows a symbolic link.
 */
import { lstat, opendir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import type { ExecutionLimits } from "./executor.js";

const PAUSE_MS_MIN = 500;
/** Looking may take this share of the time. */
const PAUSE_FACTOR = 10;

export interface DiskUse {
  readonly bytes: number;
  readonly files: number;
}

export interface DiskWatch {
  /** Looks once more: after a program that ran for a while, or in any case. */
  stop(inAnyCase?: boolean): Promise<void>;
}

export function watchDisk(
  directories: readonly string[],
  limits: Pick<ExecutionLimits, "diskBytesMax" | "diskFilesMax">,
  onTooMuch: (why: string) => void,
): DiskWatch {
  const { diskBytesMax, diskFilesMax } = limits;
  const stopped = new AbortController();
  const look = async (): Promise<boolean> => {
    const { bytes, files } = await diskUse(directories, limits);
    if (bytes > diskBytesMax) onTooMuch(`it wrote more than ${diskBytesMax} bytes to the disk`);
    else if (files > diskFilesMax) onTooMuch(`it made more than ${diskFilesMax} files`);
    else return false;
    return true;
  };
  const watch = async (): Promise<void> => {
    if (directories.length === 0) return;
    let hasLooked = false;
    for (let tookMs = 0; !stopped.signal.aborted; hasLooked = true) {
      try {
        await setTimeout(Math.max(PAUSE_MS_MIN, tookMs * PAUSE_FACTOR), undefined, {
          signal: stopped.signal,
          ref: false,
        });
      } catch {
        break;
      }
      const begun = performance.now();
      if (await look()) return;
      tookMs = performance.now() - begun;
    }
    // A program that is over in no time has not filled a disk, and nobody waits for counting a large cache.
    if (hasLooked) await look();
  };
  const watching = watch();
  return {
    async stop(inAnyCase = false) {
      stopped.abort();
      await watching;
      if (inAnyCase) await look();
    },
  };
}

/** Blocks, as they are on the disk: a file with holes is not what it says. Stops counting once it is too much. */
export async function diskUse(
  directories: readonly string[],
  limits: Pick<ExecutionLimits, "diskBytesMax" | "diskFilesMax">,
): Promise<DiskUse> {
  let bytes = 0;
  let files = 0;
  const waiting = [...directories];
  for (let directory = waiting.pop(); directory !== undefined; directory = waiting.pop()) {
    try {
      for await (const entry of await opendir(directory)) {
        const path = join(directory, entry.name);
        files++;
        if (entry.isDirectory()) waiting.push(path);
        else if (entry.isFile()) bytes += (await lstat(path)).blocks * 512;
        if (bytes > limits.diskBytesMax || files > limits.diskFilesMax) return { bytes, files };
      }
    } catch {
      // It goes while it is looked at.
    }
  }
  return { bytes, files };
}
