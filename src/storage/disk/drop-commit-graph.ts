/**
 * Removing the commit-graph before commits that it knows go: git's fsck takes it for damage otherwise. It is made anew by others, and
 * everything works without it. Under git's locks.
 */
import { readdir, unlink } from "node:fs/promises";
import { ioError, isAbsent } from "./file-errors.js";
import { readStamp } from "./file-stamp.js";
import type { LockFile } from "./refs/lock-file.js";
import { LAYER, takeLock } from "./write-side-file.js";

/** @param objectsDirectory `objects` @returns false when another process is writing one @throws storage/io */
export async function dropCommitGraph(objectsDirectory: string): Promise<boolean> {
  const single = `${objectsDirectory}/info/commit-graph`;
  const layers = `${objectsDirectory}/info/commit-graphs`;
  const chain = `${layers}/commit-graph-chain`;
  const hasLayers = (await readStamp(layers)) !== undefined;
  if (!hasLayers && (await readStamp(single)) === undefined) return true;
  const locks: LockFile[] = [];
  try {
    for (const path of hasLayers ? [single, chain] : [single]) {
      const lock = await takeLock(path);
      if (lock === undefined) return false;
      locks.push(lock);
    }
    await unlinkIfThere(single);
    if (!hasLayers) return true;
    // The list first: without it no layer counts.
    await unlinkIfThere(chain);
    for (const name of await readdir(layers)) if (LAYER.test(name)) await unlinkIfThere(`${layers}/${name}`);
    return true;
  } catch (cause) {
    throw ioError("removing", single, cause);
  } finally {
    for (const lock of locks) lock.release();
  }
}

async function unlinkIfThere(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (cause) {
    if (!isAbsent(cause)) throw cause;
  }
}
