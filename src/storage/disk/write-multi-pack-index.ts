/**
 * Putting a multi-pack-index in place and taking one away, under git's own lock.
 *
 *     multi-pack-index.lock made ──► multi-pack-index-<checksum>.bitmap ──► renamed to multi-pack-index ──► bitmaps and .rev
 *     of the one before removed
 *
 * git looks for all packs that one with bitmaps names and fails where one has gone; so before a pack goes, a multi-pack-index
 * that names it does (`leaveMultiPackIndex`), and one is not left behind when a pack went while it was written.
 */
import { randomBytes } from "node:crypto";
import { open, readdir, rename, unlink } from "node:fs/promises";
import { packNamesIn, placeOfPackNames } from "../../pack/multi-pack-index.js";
import { syncDirectory } from "./descriptor.js";
import { ioError, isAbsent } from "./file-errors.js";
import { readStamp } from "./file-stamp.js";
import { multiPackBitmapName } from "./multi-pack-bitmap-file.js";
import { MULTI_PACK_INDEX } from "./multi-pack-index-file.js";
import type { LockFile } from "./refs/lock-file.js";
import { isLocked, type SideFileOptions, takeLock, writeWhole } from "./write-side-file.js";

const BESIDE = /^multi-pack-index-[0-9a-f]{40,64}\.(?:bitmap|rev)$/;
/** Enough for the head and the list of chunks, of which there can be 255. */
const HEAD_BYTES_MAX = 12 + 256 * 12;
const NAMES_BYTES_MAX = 64 * 1024 * 1024;

export interface MultiPackIndexFiles {
  readonly bytes: Uint8Array;
  /** Its own. */
  readonly checksum: string;
  readonly bitmap: Uint8Array | undefined;
  /** The packs that it names, without ending. */
  readonly packNames: readonly string[];
}

/**
 * @param directory `objects/pack`, which must be there
 * @returns false when another program is writing one, or a pack has gone
 * @throws storage/io
 */
export async function writeMultiPackIndex(
  directory: string,
  files: MultiPackIndexFiles,
  options: SideFileOptions,
): Promise<boolean> {
  const path = `${directory}/${MULTI_PACK_INDEX}`;
  const lock = await lockIndex(path);
  if (lock === undefined) return false;
  try {
    if (!(await areThere(directory, files.packNames))) return false;
    const bitmapName = multiPackBitmapName(files.checksum);
    const old = (await readdir(directory)).filter((name) => BESIDE.test(name) && name !== bitmapName);
    if (files.bitmap !== undefined) await writeBitmap(directory, bitmapName, files.bitmap, options);
    lock.closeDescriptor();
    await writeWhole(lock.lockPath, "w", files.bytes, options);
    lock.rename();
    if (options.sync) await syncDirectory(directory);
    for (const name of old) await unlinkIfThere(`${directory}/${name}`);
  } catch (cause) {
    throw ioError("writing", path, cause);
  } finally {
    lock.release();
  }
  if (await areThere(directory, files.packNames)) return true;
  await removeMultiPackIndex(directory);
  return false;
}

/** @returns false when another program is writing one. @throws storage/io */
export async function removeMultiPackIndex(directory: string): Promise<boolean> {
  const path = `${directory}/${MULTI_PACK_INDEX}`;
  const lock = await lockIndex(path);
  if (lock === undefined) return false;
  try {
    // First: without it the others do not count.
    await unlinkIfThere(path);
    for (const name of await readdir(directory))
      if (BESIDE.test(name)) await unlinkIfThere(`${directory}/${name}`);
    return true;
  } catch (cause) {
    throw ioError("removing", path, cause);
  } finally {
    lock.release();
  }
}

/**
 * Removes bitmaps of others, which who was killed has left.
 * @param checksum of the one that stands there; undefined: none does
 * @throws storage/io
 */
export async function removeOutdatedBitmaps(directory: string, checksum: string | undefined): Promise<void> {
  const isOutdated = (name: string): boolean =>
    BESIDE.test(name) && (checksum === undefined || !name.includes(checksum));
  if (!(await readdir(directory)).some(isOutdated)) return;
  const lock = await lockIndex(`${directory}/${MULTI_PACK_INDEX}`);
  // Whoever has it may have made them just now.
  if (lock === undefined) return;
  try {
    for (const name of await readdir(directory))
      if (isOutdated(name)) await unlinkIfThere(`${directory}/${name}`);
  } catch (cause) {
    throw ioError("removing bitmaps in", directory, cause);
  } finally {
    lock.release();
  }
}

/**
 * To be called before packs go: takes away a multi-pack-index that names one of them. git's own repack does so too.
 * @returns false when another program is writing one: then no pack may go
 * @throws storage/io
 */
export async function leaveMultiPackIndex(directory: string, packNames: readonly string[]): Promise<boolean> {
  const path = `${directory}/${MULTI_PACK_INDEX}`;
  if (await isMultiPackIndexBeingWritten(directory)) return false;
  if ((await readStamp(path)) === undefined) return true;
  const named = await readNames(path);
  // One that cannot be read may name anything.
  if (named !== undefined && !packNames.some((name) => named.has(name))) return true;
  return removeMultiPackIndex(directory);
}

/** By another program, which may name any pack in it. @throws storage/io */
export function isMultiPackIndexBeingWritten(directory: string): Promise<boolean> {
  return isLocked(`${directory}/${MULTI_PACK_INDEX}`);
}

/** git writes one for minutes when it makes bitmaps: nobody waits for that. */
async function lockIndex(path: string): Promise<LockFile | undefined> {
  try {
    return await takeLock(path);
  } catch (cause) {
    throw ioError("locking", path, cause);
  }
}

/** undefined when it is not one that can be read. @throws storage/io */
async function readNames(path: string): Promise<ReadonlySet<string> | undefined> {
  try {
    const file = await open(path, "r");
    try {
      const read = async (start: number, length: number): Promise<Buffer> => {
        const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, start);
        return buffer.subarray(0, bytesRead);
      };
      const place = placeOfPackNames(await read(0, HEAD_BYTES_MAX));
      if (place === undefined || place.end - place.start > NAMES_BYTES_MAX) return undefined;
      return new Set(packNamesIn(await read(place.start, place.end - place.start)));
    } finally {
      await file.close();
    }
  } catch (cause) {
    if (isAbsent(cause)) return new Set();
    throw ioError("reading", path, cause);
  }
}

async function writeBitmap(
  directory: string,
  name: string,
  bytes: Uint8Array,
  options: SideFileOptions,
): Promise<void> {
  const temporary = `${directory}/tmp_bitmap_${randomBytes(8).toString("hex")}`;
  try {
    await writeWhole(temporary, "wx", bytes, options);
    await rename(temporary, `${directory}/${name}`);
  } finally {
    await unlinkIfThere(temporary);
  }
}

async function areThere(directory: string, packNames: readonly string[]): Promise<boolean> {
  for (const name of packNames) {
    for (const ending of [".pack", ".idx"])
      if ((await readStamp(`${directory}/${name}${ending}`)) === undefined) return false;
  }
  return true;
}

async function unlinkIfThere(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (cause) {
    if (!isAbsent(cause)) throw cause;
  }
}
