/**
 * How much stands in directories that a program may write to, looked at again and again while it runs: the file system may
 * have no quotas. Never follows a symbolic link. Files without a name count as long as a process has them open.
 * Specification: proc(5).
 */
import { lstat, opendir, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import type { ExecutionLimits } from "./executor.js";

const PAUSE_MS_MIN = 500;
/** What runs for long is looked at less often: there may be many of those. */
const LATER_PAUSE_MS_MIN = 5000;
const LATER_MS = 60_000;
/** Looking may take this share of the time. */
const PAUSE_FACTOR = 10;

export interface DiskUse {
  readonly bytes: number;
  readonly files: number;
  /** There is a directory that whoever looks is kept out of. */
  readonly isHidden: boolean;
}

export type Processes = () => readonly number[] | Promise<readonly number[]>;

export interface DiskWatch {
  /** Looks once more: after a program that ran for a while, or in any case. */
  stop(inAnyCase?: boolean): Promise<void>;
}

export function watchDisk(
  directories: readonly string[],
  limits: Pick<ExecutionLimits, "diskBytesMax" | "diskFilesMax">,
  onTooMuch: (why: string) => void,
  processes: Processes = () => [],
): DiskWatch {
  const { diskBytesMax, diskFilesMax } = limits;
  const stopped = new AbortController();
  const look = async (): Promise<boolean> => {
    const { bytes: named, files, isHidden } = await diskUse(directories, limits);
    const bytes = named + (await nameless(directories, await processes()));
    if (bytes > diskBytesMax) onTooMuch(`it wrote more than ${diskBytesMax} bytes to the disk`);
    else if (files > diskFilesMax) onTooMuch(`it made more than ${diskFilesMax} files`);
    else if (isHidden) onTooMuch("it made a directory that nobody can look into");
    else return false;
    return true;
  };
  const watch = async (): Promise<void> => {
    if (directories.length === 0) return;
    let hasLooked = false;
    const started = performance.now();
    for (let tookMs = 0; !stopped.signal.aborted; hasLooked = true) {
      try {
        const least = performance.now() - started < LATER_MS ? PAUSE_MS_MIN : LATER_PAUSE_MS_MIN;
        await setTimeout(Math.max(least, tookMs * PAUSE_FACTOR), undefined, {
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
  let isHidden = false;
  const waiting = [...directories];
  for (let directory = waiting.pop(); directory !== undefined; directory = waiting.pop()) {
    try {
      for await (const entry of await opendir(directory)) {
        const path = join(directory, entry.name);
        files++;
        if (entry.isDirectory()) waiting.push(path);
        else if (entry.isFile()) bytes += (await lstat(path)).blocks * 512;
        if (bytes > limits.diskBytesMax || files > limits.diskFilesMax) return { bytes, files, isHidden };
      }
    } catch (error) {
      // Otherwise it goes while it is looked at.
      isHidden ||= error instanceof Error && "code" in error && error.code === "EACCES";
    }
  }
  return { bytes, files, isHidden };
}

/** Of files that were removed, on the file systems of the directories, and are written to all the same. */
async function nameless(directories: readonly string[], pids: readonly number[]): Promise<number> {
  if (pids.length === 0) return 0;
  const found = await Promise.all(directories.map((path) => lstat(path).catch(() => undefined)));
  const devices = new Set(found.map((directory) => directory?.dev));
  const seen = new Set<number>();
  let bytes = 0;
  for (const pid of pids) {
    const open = `/proc/${pid}/fd`;
    for (const name of await readdir(open).catch(() => [])) {
      const file = await stat(join(open, name)).catch(() => undefined);
      if (file?.isFile() !== true || file.nlink > 0 || !devices.has(file.dev) || seen.has(file.ino)) continue;
      seen.add(file.ino);
      bytes += file.blocks * 512;
    }
  }
  return bytes;
}
