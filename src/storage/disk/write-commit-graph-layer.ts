/**
 * Putting a layer of a commit-graph upon those that stand there, under git's locks.
 *
 *     commit-graphs/graph-<checksum>.graph ──► commit-graph-chain, one checksum a line, base layer first ──► layers that are not
 *     in it go, and so does the single file, which has become a layer
 *
 * Who reads meanwhile finds the old list or the new one with its layers, or, where a layer has just gone, those below it.
 */
import { randomBytes } from "node:crypto";
import { copyFile, link, open, readdir, rename, unlink } from "node:fs/promises";
import { isObjectId } from "../../object/object-id.js";
import { readSmallFile } from "./cached-file.js";
import { syncDirectory } from "./descriptor.js";
import { errorCode, ioError, isAbsent } from "./file-errors.js";
import { readStamp } from "./file-stamp.js";
import type { LockFile } from "./refs/lock-file.js";
import { LAYER, makeDirectory, type SideFileOptions, takeLock, writeWhole } from "./write-side-file.js";

export interface CommitGraphLayerFile {
  readonly bytes: SharedArrayBuffer;
  /** Its own. */
  readonly checksum: string;
  /** Of the layers that it stands upon, at least one. */
  readonly upon: readonly string[];
}

const CHAIN_BYTES_MAX = 1024 * 1024;
/** Where a trailer of any hash ends is known from the head alone: byte 5. */
const HEAD_BYTES = 8;

/**
 * Checksums of the layers that stand there, base layer first; of a single file its own. What cannot be read is nothing.
 * @throws storage/io
 */
export async function readGraphLayers(objectsDirectory: string): Promise<readonly string[]> {
  const single = `${objectsDirectory}/info/commit-graph`;
  if ((await readStamp(single)) !== undefined) {
    const checksum = await readTrailer(single);
    return checksum === undefined ? [] : [checksum];
  }
  const chain = `${objectsDirectory}/info/commit-graphs/commit-graph-chain`;
  const text = (await readSmallFile(chain, CHAIN_BYTES_MAX))?.toString("latin1") ?? "";
  const layers = text.split("\n").filter((line) => line !== "");
  return layers.every((layer) => isObjectId(layer, "sha1") || isObjectId(layer, "sha256")) ? layers : [];
}

/**
 * @param objectsDirectory which must be there
 * @returns false when another program is writing one, or other layers stand there
 * @throws storage/io
 */
export async function writeCommitGraphLayer(
  objectsDirectory: string,
  layer: CommitGraphLayerFile,
  options: SideFileOptions,
): Promise<boolean> {
  const info = `${objectsDirectory}/info`;
  const directory = `${info}/commit-graphs`;
  const locks: LockFile[] = [];
  try {
    await makeDirectory(info, options);
    await makeDirectory(directory, options);
    for (const path of [`${info}/commit-graph`, `${directory}/commit-graph-chain`]) {
      const lock = await takeLock(path);
      if (lock === undefined) return false;
      locks.push(lock);
    }
    const standing = await readGraphLayers(objectsDirectory);
    if (!layer.upon.every((checksum, i) => checksum === standing[i])) return false;
    const chain = locks[1] as LockFile;
    chain.closeDescriptor();
    const hasSingle = (await readStamp(`${info}/commit-graph`)) !== undefined;
    if (hasSingle) await addName(`${info}/commit-graph`, pathOf(directory, standing[0] as string));
    await writeLayer(directory, layer, options);
    const layers = [...layer.upon, layer.checksum];
    await writeWhole(chain.lockPath, "w", Buffer.from(`${layers.join("\n")}\n`), options);
    if (options.sync) await syncDirectory(directory);
    chain.rename();
    // As long as it is there nobody looks for a chain.
    if (hasSingle) await unlinkIfThere(`${info}/commit-graph`);
    if (options.sync) for (const changed of [directory, info]) await syncDirectory(changed);
    await removeOthers(directory, new Set(layers.map((each) => `graph-${each}.graph`)));
    return true;
  } catch (cause) {
    throw ioError("writing a layer in", directory, cause);
  } finally {
    for (const lock of locks) lock.release();
  }
}

function pathOf(directory: string, checksum: string): string {
  return `${directory}/graph-${checksum}.graph`;
}

async function writeLayer(
  directory: string,
  { bytes, checksum }: CommitGraphLayerFile,
  options: SideFileOptions,
): Promise<void> {
  const temporary = `${directory}/tmp_graph_${randomBytes(8).toString("hex")}`;
  try {
    await writeWhole(temporary, "wx", Buffer.from(bytes), options);
    await rename(temporary, pathOf(directory, checksum));
  } finally {
    await unlinkIfThere(temporary);
  }
}

/** Another name for the same file, or where the file system has no such thing another file. */
async function addName(path: string, name: string): Promise<void> {
  try {
    await link(path, name);
  } catch (cause) {
    const code = errorCode(cause);
    if (code === "EEXIST") return;
    if (code !== "EPERM" && code !== "ENOTSUP" && code !== "EOPNOTSUPP" && code !== "ENOSYS") throw cause;
    await copyFile(path, name);
  }
}

async function removeOthers(directory: string, kept: ReadonlySet<string>): Promise<void> {
  for (const name of await readdir(directory))
    if (LAYER.test(name) && !kept.has(name)) await unlinkIfThere(`${directory}/${name}`);
}

/** undefined when it is none. */
async function readTrailer(path: string): Promise<string | undefined> {
  try {
    const file = await open(path, "r");
    try {
      const { size } = await file.stat();
      const head = Buffer.alloc(HEAD_BYTES);
      await file.read(head, 0, HEAD_BYTES, 0);
      const h = head[5] === 2 ? 32 : 20;
      if (head.toString("latin1", 0, 4) !== "CGPH" || size < HEAD_BYTES + h) return undefined;
      const trailer = Buffer.alloc(h);
      await file.read(trailer, 0, h, size - h);
      return trailer.toString("hex");
    } finally {
      await file.close();
    }
  } catch (cause) {
    if (isAbsent(cause)) return undefined;
    throw ioError("reading", path, cause);
  }
}

async function unlinkIfThere(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (cause) {
    if (!isAbsent(cause)) throw cause;
  }
}
