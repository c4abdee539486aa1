/**
 * Removing what pushes that were killed left behind: quarantine directories in which nothing was written for a day
 * (`git gc` removes them too, but not every repository meets a `git gc`), and our own `.keep` files of that age.
 * Packs that a fold was about to remove when it was killed come back, or go where their index has gone.
 */
import { readdir, rm, unlink } from "node:fs/promises";
import { readSmallFile } from "./cached-file.js";
import { readStamp } from "./file-stamp.js";
import { QUARANTINE_PREFIX } from "./disk-quarantine.js";
import { finishRemovals } from "./remove-packs.js";
import { KEEP_TEXT } from "./publish-packs.js";

const DAY_MS = 24 * 60 * 60 * 1000;

/** Failures are no one's concern: the next opening tries again. */
export async function removeLeftovers(
  objectsDirectory: string,
  options: { readonly inUse: ReadonlySet<string>; readonly nowMs?: number },
): Promise<void> {
  const { inUse, nowMs = Date.now() } = options;
  for (const name of await namesIn(objectsDirectory)) {
    const path = `${objectsDirectory}/${name}`;
    if (!name.startsWith(QUARANTINE_PREFIX) || inUse.has(path)) continue;
    if (nowMs - (await lastChangeMs(path)) < DAY_MS) continue;
    await rm(path, { recursive: true, force: true }).catch(() => undefined);
  }
  await finishRemovals(`${objectsDirectory}/pack`, { olderThanMs: DAY_MS, nowMs });
  for (const name of await namesIn(`${objectsDirectory}/pack`)) {
    if (name.endsWith(".keep")) await removeOldKeepFile(`${objectsDirectory}/pack/${name}`, nowMs);
  }
}

/** One that somebody else made is left alone. */
async function removeOldKeepFile(path: string, nowMs: number): Promise<void> {
  const stamp = await readStamp(path);
  if (stamp === undefined || stamp.sizeBytes !== KEEP_TEXT.length || nowMs - stamp.modifiedMs < DAY_MS)
    return;
  const bytes = await readSmallFile(path, KEEP_TEXT.length);
  if (bytes?.toString("latin1") === KEEP_TEXT) await unlink(path).catch(() => undefined);
}

/** Of the directory, of `pack` in it, and of the files there. */
async function lastChangeMs(path: string): Promise<number> {
  const names = await namesIn(`${path}/pack`);
  const paths = [path, `${path}/pack`, ...names.map((name) => `${path}/pack/${name}`)];
  let last = 0;
  for (const each of paths) {
    const stamp = await readStamp(each);
    if (stamp !== undefined) last = Math.max(last, stamp.modifiedMs);
  }
  return last;
}

async function namesIn(path: string): Promise<string[]> {
  try {
    return await readdir(path);
  } catch {
    return [];
  }
}
