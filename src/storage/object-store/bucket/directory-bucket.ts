/**
 * A bucket that is a directory: the embedded one. A key is the path of a file below it.
 *
 * Bytes go to a file under a name of its own in `.incoming`, are synced, and get their place by a renaming, which is
 * synced too: a key is there whole or not at all. What writers that were killed have left in `.incoming` is removed by
 * age when the bucket is opened. Files are for their owner alone. Several processes may share one directory.
 */
import { randomUUID } from "node:crypto";
import type { Dirent } from "node:fs";
import { mkdir, readdir, rename, stat, unlink, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { invariant, throwIfAborted } from "../../../base/errors.js";
import {
  closeDescriptor,
  openDescriptor,
  readDescriptor,
  statDescriptor,
  syncDescriptor,
  syncDirectory,
  writeDescriptor,
} from "../../disk/descriptor.js";
import { errorCode, isAbsent } from "../../disk/file-errors.js";
import { createDirectoryProbe } from "../../disk/probe-directory.js";
import type {
  Bucket,
  BucketFile,
  BucketListEntry,
  BucketListOptions,
  BucketObjectSize,
  BucketRange,
  BucketRequestOptions,
  BucketSweepOptions,
  BucketUpload,
} from "./bucket.js";
import { bucketError, noSuchKey, uploadIsOver } from "./bucket-errors.js";
import { checkKey, checkKeyPrefix, checkRange } from "./bucket-key.js";

export interface DirectoryBucketOptions {
  /** Made when it is not there. */
  readonly directory: string;
  /** Whether writing waits for the disk. false: a crash of the machine (not of the process) may lose objects. @default true */
  readonly sync?: boolean;
}

const INCOMING = ".incoming";
const LEFTOVER_AFTER_MS = 24 * 60 * 60 * 1000;
const STREAMED_AT_ONCE = 256 * 1024;
const PRIVATE_FILE = 0o600;
const PRIVATE_DIRECTORY = 0o700;
/** Directories that are remembered as durable. */
const DURABLE_MAX = 10_000;

/** @throws storage/io */
export async function openDirectoryBucket(options: DirectoryBucketOptions): Promise<Bucket> {
  const directory = resolve(options.directory);
  const bucket = new DirectoryBucket(directory, options.sync ?? true);
  try {
    await mkdir(join(directory, INCOMING), { recursive: true, mode: PRIVATE_DIRECTORY });
  } catch (cause) {
    throw bucketError(directory, "opening the bucket", cause);
  }
  await bucket.sweep({ olderThanMs: LEFTOVER_AFTER_MS });
  return bucket;
}

class DirectoryBucket implements Bucket {
  readonly name: string;
  readonly #sync: boolean;
  readonly #probe: () => Promise<void>;
  readonly #durable = new Set<string>();

  constructor(directory: string, sync: boolean) {
    this.name = directory;
    this.#sync = sync;
    this.#probe = createDirectoryProbe(directory);
  }

  async put(key: string, body: readonly Uint8Array[], options: BucketRequestOptions = {}) {
    const upload = await this.createUpload(key, options);
    try {
      for (const piece of body) await upload.append(piece);
      await upload.finish();
    } finally {
      await upload.abort();
    }
  }

  async createUpload(key: string, { signal }: BucketRequestOptions = {}): Promise<BucketUpload> {
    checkKey(key);
    throwIfAborted(signal);
    const temporary = join(this.name, INCOMING, randomUUID());
    let fd: number | undefined;
    try {
      fd = await openDescriptor(temporary, "wx", PRIVATE_FILE);
    } catch (cause) {
      throw this.#error(`writing ${key}`, cause);
    }
    let sizeBytes = 0;
    const close = async (): Promise<void> => {
      if (fd === undefined) return;
      const open = fd;
      fd = undefined;
      await closeDescriptor(open);
    };
    let isPlaced = false;
    const abort = async (): Promise<void> => {
      await close();
      if (!isPlaced) await unlink(temporary).catch(() => undefined);
      isPlaced = true;
    };
    const failing = async <T>(body: (open: number) => Promise<T>): Promise<T> => {
      if (fd === undefined) throw uploadIsOver(this.name, key);
      try {
        throwIfAborted(signal);
        return await body(fd);
      } catch (cause) {
        await abort();
        throw this.#error(`writing ${key}`, cause);
      }
    };
    return {
      append: (bytes) =>
        failing(async (open) => {
          await writeDescriptor(open, bytes, sizeBytes);
          sizeBytes += bytes.length;
        }),
      finish: () =>
        failing(async (open) => {
          if (this.#sync) await syncDescriptor(open);
          await close();
          await this.#place(temporary, key);
          isPlaced = true;
          return { sizeBytes };
        }),
      abort,
    };
  }

  async get(key: string, range?: BucketRange, { signal }: BucketRequestOptions = {}) {
    throwIfAborted(signal);
    const { fd, start, end } = await this.#open(key, range);
    try {
      const bytes = Buffer.allocUnsafeSlow(end - start);
      await this.#fill(key, fd, bytes, start);
      return bytes;
    } finally {
      await closeDescriptor(fd);
    }
  }

  async *stream(key: string, range?: BucketRange, { signal }: BucketRequestOptions = {}) {
    throwIfAborted(signal);
    const { fd, start, end } = await this.#open(key, range);
    try {
      for (let at = start; at < end; at += STREAMED_AT_ONCE) {
        throwIfAborted(signal);
        const bytes = Buffer.allocUnsafeSlow(Math.min(STREAMED_AT_ONCE, end - at));
        await this.#fill(key, fd, bytes, at);
        yield bytes;
      }
    } finally {
      await closeDescriptor(fd);
    }
  }

  async openFile(key: string): Promise<BucketFile> {
    const { fd, end } = await this.#open(key, undefined);
    return { fd, sizeBytes: end };
  }

  async head(key: string, { signal }: BucketRequestOptions = {}) {
    checkKey(key);
    throwIfAborted(signal);
    return this.#size(key);
  }

  async delete(keys: readonly string[], { signal }: BucketRequestOptions = {}) {
    keys.forEach(checkKey);
    for (const key of keys) {
      throwIfAborted(signal);
      try {
        await unlink(this.#path(key));
      } catch (cause) {
        if (!isAbsent(cause)) throw this.#error(`deleting ${key}`, cause);
      }
    }
  }

  async *list(prefix: string, { signal, after = "" }: BucketListOptions = {}) {
    checkKeyPrefix(prefix);
    const above = prefix.slice(0, prefix.lastIndexOf("/") + 1);
    yield* this.#listBelow(above, prefix, after, signal);
  }

  async sweep({ olderThanMs, signal }: BucketSweepOptions) {
    const incoming = join(this.name, INCOMING);
    const names = await readdir(incoming).catch((cause: unknown) => {
      throw this.#error("sweeping", cause);
    });
    if (names.length === 0) return;
    // By the clock of the files: they may be another machine's.
    const nowMs = await this.#timeOfFiles(incoming);
    for (const name of names) {
      throwIfAborted(signal);
      const path = join(incoming, name);
      const left = await stat(path).catch(() => undefined);
      if (left === undefined || nowMs - left.mtimeMs < olderThanMs) continue;
      await unlink(path).catch(() => undefined);
    }
  }

  async probe({ signal }: BucketRequestOptions = {}) {
    throwIfAborted(signal);
    await this.#probe();
  }

  async close() {
    // Every descriptor is closed by who has opened it.
  }

  async #timeOfFiles(directory: string): Promise<number> {
    const path = join(directory, randomUUID());
    try {
      await writeFile(path, "", { flag: "wx" });
      const { mtimeMs } = await stat(path);
      await unlink(path);
      return mtimeMs;
    } catch (cause) {
      throw this.#error("sweeping", cause);
    }
  }

  /** @param above ends with a slash, or is empty */
  async *#listBelow(
    above: string,
    prefix: string,
    after: string,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<BucketListEntry> {
    for (const { name, isDirectory } of await this.#entries(above)) {
      throwIfAborted(signal);
      const key = `${above}${name}`;
      // A directory counts when anything in it may: it begins with what is looked for, or the other way round.
      if (!key.startsWith(prefix) && !(isDirectory && prefix.startsWith(key))) continue;
      if (isDirectory) {
        if (key < after && !after.startsWith(key)) continue;
        yield* this.#listBelow(key, prefix, after, signal);
      } else if (key > after) {
        const found = await this.#listed(key);
        if (found !== undefined) yield found;
      }
    }
  }

  /** Names of directories end with a slash, so that they are sorted as keys are. */
  async #entries(
    above: string,
  ): Promise<readonly { readonly name: string; readonly isDirectory: boolean }[]> {
    let entries: readonly Dirent[];
    try {
      entries = await readdir(join(this.name, above), { withFileTypes: true });
    } catch (cause) {
      if (isAbsent(cause)) return [];
      throw this.#error("listing", cause);
    }
    return entries
      .filter((entry) => !entry.name.startsWith("."))
      .map((entry) => {
        const isDirectory = entry.isDirectory();
        return { name: isDirectory ? `${entry.name}/` : entry.name, isDirectory };
      })
      .toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }

  async #listed(key: string): Promise<BucketListEntry | undefined> {
    try {
      const { size, mtimeMs } = await stat(this.#path(key));
      return { key, sizeBytes: size, modifiedMs: mtimeMs };
    } catch (cause) {
      if (isAbsent(cause)) return undefined;
      throw this.#error("listing", cause);
    }
  }

  async #size(key: string): Promise<BucketObjectSize | undefined> {
    try {
      const found = await stat(this.#path(key));
      return found.isFile() ? { sizeBytes: found.size } : undefined;
    } catch (cause) {
      if (isAbsent(cause)) return undefined;
      throw this.#error(`looking for ${key}`, cause);
    }
  }

  async #open(
    key: string,
    range: BucketRange | undefined,
  ): Promise<{ readonly fd: number; readonly start: number; readonly end: number }> {
    checkKey(key);
    checkRange(range);
    let fd: number;
    try {
      fd = await openDescriptor(this.#path(key), "r");
    } catch (cause) {
      if (isAbsent(cause)) throw noSuchKey(this.name, key, cause);
      throw this.#error(`reading ${key}`, cause);
    }
    try {
      const found = await statDescriptor(fd);
      if (!found.isFile()) throw noSuchKey(this.name, key);
      const end = Math.min(range?.end ?? found.size, found.size);
      return { fd, start: Math.min(range?.start ?? 0, end), end };
    } catch (cause) {
      await closeDescriptor(fd);
      throw this.#error(`reading ${key}`, cause);
    }
  }

  async #fill(key: string, fd: number, bytes: Buffer, position: number): Promise<void> {
    try {
      const n = await readDescriptor(fd, bytes, position);
      if (n < bytes.length) throw new Error(`it ends at ${position + n} bytes, though it was longer`);
    } catch (cause) {
      throw this.#error(`reading ${key}`, cause);
    }
  }

  async #place(temporary: string, key: string): Promise<void> {
    const path = this.#path(key);
    const above = dirname(path);
    try {
      await rename(temporary, path);
    } catch (error) {
      if (errorCode(error) !== "ENOENT") throw error;
      this.#durable.delete(above);
      await mkdir(above, { recursive: true, mode: PRIVATE_DIRECTORY });
      await rename(temporary, path);
    }
    if (!this.#sync) return;
    await syncDirectory(above);
    await this.#makeDurable(above);
  }

  /** A name in a directory is lost with the directory's own, and whoever has made that may not have synced it yet. */
  async #makeDurable(path: string): Promise<void> {
    if (path === this.name || this.#durable.has(path)) return;
    invariant(path.startsWith(this.name), `${path} is not in ${this.name}`);
    await syncDirectory(dirname(path));
    await this.#makeDurable(dirname(path));
    if (this.#durable.size >= DURABLE_MAX) this.#durable.clear();
    this.#durable.add(path);
  }

  #path(key: string): string {
    return join(this.name, key);
  }

  #error(doing: string, cause: unknown): Error {
    return bucketError(this.name, doing, cause);
  }
}
