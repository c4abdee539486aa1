/**
 * Files beside packs and objects that nobody changes once they are there: written under another name, synced, and renamed.
 *
 *     objects/pack/tmp_bitmap_XXXXXXXX ──► pack-<hex>.bitmap
 *     objects/info/commit-graph.lock   ──► commit-graph; then the chain of layers goes, which it takes the place of
 *
 * What a killed process leaves git knows: `git prune` removes `tmp_…`, and a lock says itself that it is in the way. We take over a
 * lock that is half a day old.
 */
import { randomBytes } from "node:crypto";
import { chmod, mkdir, readdir, rename, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import {
  closeDescriptor,
  openDescriptor,
  syncDescriptor,
  syncDirectory,
  writeDescriptor,
} from "./descriptor.js";
import { errorCode, ioError, isAbsent } from "./file-errors.js";
import { readStamp } from "./file-stamp.js";
import { LockFile } from "./refs/lock-file.js";
import { applySharedMode, type SharedRepository } from "./shared-mode.js";

export interface SideFileOptions {
  readonly sync: boolean;
  readonly shared: SharedRepository;
}

const STALE_LOCK_MS = 12 * 60 * 60 * 1000;
/** As git makes them. */
const MODE = 0o444;
export const LAYER = /^graph-[0-9a-f]{40,64}\.graph$/;

/**
 * @param stem `…/objects/pack/pack-<hex>`
 * @returns false when the pack has gone: then there is no bitmap either
 * @throws storage/io
 */
export async function writeBitmapFile(
  stem: string,
  bytes: Uint8Array,
  options: SideFileOptions,
): Promise<boolean> {
  return writeBesidePack(stem, ".bitmap", bytes, options);
}

/** The same for a file of another ending. */
export async function writeBesidePack(
  stem: string,
  ending: ".bitmap" | ".mtimes",
  bytes: Uint8Array,
  options: SideFileOptions,
): Promise<boolean> {
  const directory = dirname(stem);
  const temporary = `${directory}/tmp_${ending.slice(1)}_${randomBytes(8).toString("hex")}`;
  try {
    await writeWhole(temporary, "wx", bytes, options);
    if (!(await isPackThere(stem))) return false;
    await rename(temporary, stem + ending);
    if (options.sync) await syncDirectory(directory);
    // Removed while we were at it, the pack leaves nothing for the file to belong to.
    if (await isPackThere(stem)) return true;
    await unlink(stem + ending).catch(() => undefined);
    return false;
  } catch (cause) {
    if (isAbsent(cause)) return false;
    throw ioError("writing", stem + ending, cause);
  } finally {
    await unlink(temporary).catch(() => undefined);
  }
}

async function isPackThere(stem: string): Promise<boolean> {
  for (const ending of [".idx", ".pack"]) if ((await readStamp(stem + ending)) === undefined) return false;
  return true;
}

/**
 * @param objectsDirectory which must be there
 * @returns false when another program is writing one
 * @throws storage/io
 */
export async function writeCommitGraphFile(
  objectsDirectory: string,
  bytes: SharedArrayBuffer,
  options: SideFileOptions,
): Promise<boolean> {
  const info = `${objectsDirectory}/info`;
  const layers = `${info}/commit-graphs`;
  const locks: LockFile[] = [];
  try {
    await makeDirectory(info, options);
    const hasLayers = (await readStamp(layers)) !== undefined;
    for (const path of [`${info}/commit-graph`, ...(hasLayers ? [`${layers}/commit-graph-chain`] : [])]) {
      const lock = await takeLock(path);
      if (lock === undefined) return false;
      locks.push(lock);
    }
    const [graph] = locks as [LockFile];
    graph.closeDescriptor();
    await writeWhole(graph.lockPath, "w", Buffer.from(bytes), options);
    graph.rename();
    if (options.sync) await syncDirectory(info);
    if (hasLayers) await removeLayers(layers);
    return true;
  } catch (cause) {
    throw ioError("writing", `${info}/commit-graph`, cause);
  } finally {
    for (const lock of locks) lock.release();
  }
}

/** Its parent must be there: a repository that was deleted is not made anew. */
export async function makeDirectory(path: string, { shared }: SideFileOptions): Promise<void> {
  try {
    await mkdir(path);
    await applySharedMode(path, shared);
  } catch (cause) {
    if (errorCode(cause) !== "EEXIST") throw cause;
  }
}

/** In a directory that is there, and for who holds `gc.pid`. undefined: somebody else has it. */
export async function takeLock(path: string): Promise<LockFile | undefined> {
  for (let isAgain = false; ; isAgain = true) {
    try {
      return new LockFile(path, await openDescriptor(`${path}.lock`, "wx", 0o666));
    } catch (cause) {
      if (errorCode(cause) !== "EEXIST") throw cause;
    }
    if (isAgain || (await isLocked(path))) return undefined;
    await unlink(`${path}.lock`).catch(() => undefined);
  }
}

/** A lock that is half a day old is nobody's: who made it was killed. @throws storage/io */
export async function isLocked(path: string): Promise<boolean> {
  const stamp = await readStamp(`${path}.lock`);
  return stamp !== undefined && Date.now() - stamp.modifiedMs < STALE_LOCK_MS;
}

export async function writeWhole(
  path: string,
  flags: string,
  bytes: Uint8Array,
  { sync, shared }: SideFileOptions,
): Promise<void> {
  const fd = await openDescriptor(path, flags, 0o666);
  try {
    await writeDescriptor(fd, bytes, 0);
    if (sync) await syncDescriptor(fd);
  } finally {
    await closeDescriptor(fd);
  }
  await chmod(path, MODE);
  await applySharedMode(path, shared);
}

/** The list first: without it no layer counts. */
async function removeLayers(directory: string): Promise<void> {
  await unlink(`${directory}/commit-graph-chain`).catch(() => undefined);
  for (const name of await readdir(directory))
    if (LAYER.test(name)) await unlink(`${directory}/${name}`).catch(() => undefined);
}
