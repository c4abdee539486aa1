/** The directories that ref and log files are in: they come and go with the refs. */
import * as fs from "node:fs";
import { dirname, join } from "node:path";
import { syncDescriptor } from "../descriptor.js";
import { ioError, isAbsent } from "../file-errors.js";

/**
 * Removes a directory that holds nothing but empty directories: it is in the way of a file of that name.
 * @returns the path of something that is in it; undefined when the way is free
 * @throws storage/io
 */
export function clearEmptyDirectory(path: string, depthMax = 256): string | undefined {
  let entries: readonly fs.Dirent[];
  try {
    entries = fs.readdirSync(path, { withFileTypes: true });
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw ioError("listing", path, error);
  }
  for (const entry of entries) {
    const below = join(path, entry.name);
    if (!entry.isDirectory() || depthMax === 0) return below;
    const found = clearEmptyDirectory(below, depthMax - 1);
    if (found !== undefined) return found;
  }
  try {
    fs.rmdirSync(path);
    return undefined;
  } catch (error) {
    return isAbsent(error) ? undefined : path;
  }
}

/** Removes the directories of a file that is gone, from the innermost on, as long as they are empty. */
export function removeEmptyParents(path: string, stopAt: string): void {
  try {
    for (let at = dirname(path); at.length > stopAt.length; at = dirname(at)) fs.rmdirSync(at);
  } catch {
    // Not empty, or somebody else was faster.
  }
}

export function isDirectory(path: string): boolean {
  try {
    return fs.statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
  } catch {
    return false;
  }
}

/** Waits until the names in these directories are on the disk. Directories that are gone need not wait. @throws storage/io */
export async function syncDirectories(paths: Iterable<string>): Promise<void> {
  await Promise.all(Array.from(new Set(paths), syncOne));
}

async function syncOne(path: string): Promise<void> {
  let fd: number;
  try {
    fd = fs.openSync(path, "r");
  } catch (error) {
    if (isAbsent(error)) return;
    throw ioError("opening", path, error);
  }
  try {
    await syncDescriptor(fd);
  } catch (error) {
    throw ioError("syncing", path, error);
  } finally {
    fs.closeSync(fd);
  }
}

/** Runs over all items, some at once. The first error ends it, after those that run have ended. */
export async function inParallel<T>(
  items: readonly T[],
  run: (item: T) => Promise<void>,
  atOnce = 16,
): Promise<void> {
  let next = 0;
  let failed: { readonly error: unknown } | undefined;
  const worker = async (): Promise<void> => {
    while (next < items.length && failed === undefined) {
      try {
        await run(items[next++] as T);
      } catch (error) {
        failed ??= { error };
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, worker));
  if (failed !== undefined) throw failed.error;
}
