/**
 * Directories under names that no repository has: repositories on their way in (`prepare-repository.ts`) or out
 * (`delete-repository.ts`). What a crash leaves of them is removed once nothing was written there for a day.
 */
import { readdir, rm } from "node:fs/promises";
import { readStamp } from "./file-stamp.js";

/** No repository name begins with a dot. */
export const HIDDEN_NEW_PREFIX = ".gitwharf-new-";
export const HIDDEN_DELETED_PREFIX = ".gitwharf-deleted-";

const DAY_MS = 24 * 60 * 60 * 1000;

export function isHidden(name: string): boolean {
  return name.startsWith(HIDDEN_NEW_PREFIX) || name.startsWith(HIDDEN_DELETED_PREFIX);
}

/** Those directly in a directory. Failures are no one's concern: the next caller tries again. */
export async function removeOldHidden(directory: string): Promise<void> {
  const names = await readdir(directory).catch(() => []);
  for (const name of names) if (isHidden(name)) await removeHiddenWhenOld(`${directory}/${name}`);
}

export async function removeHiddenWhenOld(path: string): Promise<void> {
  try {
    if (Date.now() - (await lastChangeMs(path)) < DAY_MS) return;
    await rm(path, { recursive: true, force: true });
  } catch {
    // As above.
  }
}

/** Of anything in it: a push may be writing far below. */
async function lastChangeMs(path: string): Promise<number> {
  let last = 0;
  for (const name of ["", ...(await readdir(path, { recursive: true }))])
    last = Math.max(last, (await readStamp(`${path}/${name}`))?.modifiedMs ?? 0);
  return last;
}
