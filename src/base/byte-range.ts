/**
 * Immutable bytes that are read by offset: a pack on disk, in shared memory, later in a bucket's block cache.
 */
import { read as readAsync, readSync } from "node:fs";
import { LRUCache } from "lru-cache";
import { GitwharfError } from "./errors.js";
import type { MaybePromise } from "./maybe-promise.js";

export interface ByteRange {
  readonly sizeBytes: number;
  /**
   * `min(length, sizeBytes - offset)` bytes. Synchronous when they are resident. Borrowed: the caller neither
   * changes them nor keeps them for long (they pin the block that they are part of).
   * @throws storage/io
   */
  read(offset: number, length: number): MaybePromise<Buffer>;
  /** A structured-cloneable description; `openByteRange` opens the same bytes in a worker thread. */
  describe(): ByteRangeDescriptor;
}

export type ByteRangeDescriptor =
  | { readonly kind: "file"; readonly fd: number; readonly sizeBytes: number; readonly cacheKey: string }
  | { readonly kind: "memory"; readonly buffer: SharedArrayBuffer | ArrayBuffer; readonly sizeBytes: number };

/** Opens a described range. In a worker thread (`blocking`) a file is read synchronously: only the worker waits. */
export function openByteRange(descriptor: ByteRangeDescriptor, options: { blocking: boolean }): ByteRange {
  if (descriptor.kind === "memory") return new MemoryRange(descriptor.buffer, descriptor.sizeBytes);
  return new FileRange(descriptor, options);
}

export class MemoryRange implements ByteRange {
  readonly sizeBytes: number;
  readonly #buffer: SharedArrayBuffer | ArrayBuffer;

  constructor(buffer: SharedArrayBuffer | ArrayBuffer, sizeBytes: number = buffer.byteLength) {
    this.#buffer = buffer;
    this.sizeBytes = sizeBytes;
  }

  read(offset: number, length: number): Buffer {
    const start = Math.min(offset, this.sizeBytes);
    return Buffer.from(this.#buffer, start, Math.min(length, this.sizeBytes - start));
  }

  describe(): ByteRangeDescriptor {
    return { kind: "memory", buffer: this.#buffer, sizeBytes: this.sizeBytes };
  }
}

const BLOCK_BYTES = 64 * 1024;
/** Blocks of all files of this thread together, by the file's number and the block's. */
const blocks = new LRUCache<number, Buffer>({ maxSize: 64 * 1024 * 1024, sizeCalculation: (b) => b.length });
/** Blocks behind this one (1 TiB) are not kept. */
const BLOCKS_PER_FILE = 2 ** 24;
/** Numbers of files by `cacheKey`: a file that is opened again finds its blocks. */
const fileNumbers = new LRUCache<string, number>({ max: 16_384 });
let filesNumbered = 0;
/** The block that was read last: most reads are near the one before. */
let lastKey = -1;
let lastBlock: Buffer = Buffer.alloc(0);

function numberOfFile(cacheKey: string): number {
  let number = fileNumbers.get(cacheKey);
  if (number === undefined) {
    number = filesNumbered++;
    fileNumbers.set(cacheKey, number);
  }
  return number;
}

/**
 * A range of an open file. Reads go through a cache of 64 KiB blocks shared by the thread (64 MiB in all), keyed
 * by `cacheKey`: two files with the same key must hold the same bytes for ever. The owner of `fd` keeps it open
 * while the range is in use.
 */
export class FileRange implements ByteRange {
  readonly sizeBytes: number;
  readonly #fd: number;
  readonly #cacheKey: string;
  readonly #firstKey: number;
  readonly #blocking: boolean;

  constructor(
    file: { readonly fd: number; readonly sizeBytes: number; readonly cacheKey: string },
    options: { blocking: boolean },
  ) {
    this.#fd = file.fd;
    this.sizeBytes = file.sizeBytes;
    this.#cacheKey = file.cacheKey;
    this.#firstKey = numberOfFile(file.cacheKey) * BLOCKS_PER_FILE;
    this.#blocking = options.blocking;
  }

  read(offset: number, length: number): MaybePromise<Buffer> {
    const start = Math.min(offset, this.sizeBytes);
    const end = Math.min(start + length, this.sizeBytes);
    if (end === start) return Buffer.alloc(0);
    const first = Math.floor(start / BLOCK_BYTES);
    const last = Math.floor((end - 1) / BLOCK_BYTES);
    if (last - first >= 8 || last >= BLOCKS_PER_FILE) return this.#readDirect(start, end - start);
    if (first === last) {
      const block = this.#block(first);
      const from = start - first * BLOCK_BYTES;
      if (block instanceof Promise) return block.then((b) => b.subarray(from, from + end - start));
      return block.subarray(from, from + end - start);
    }
    const joined = Buffer.allocUnsafe(end - start);
    const waits: Promise<void>[] = [];
    for (let i = first; i <= last; i++) {
      const block = this.#block(i);
      const copy = (b: Buffer): void => {
        const at = i * BLOCK_BYTES - start;
        b.copy(joined, Math.max(at, 0), Math.max(-at, 0));
      };
      if (block instanceof Promise) waits.push(block.then(copy));
      else copy(block);
    }
    return waits.length === 0 ? joined : Promise.all(waits).then(() => joined);
  }

  describe(): ByteRangeDescriptor {
    return { kind: "file", fd: this.#fd, sizeBytes: this.sizeBytes, cacheKey: this.#cacheKey };
  }

  #block(number: number): MaybePromise<Buffer> {
    const key = this.#firstKey + number;
    if (key === lastKey) return lastBlock;
    const cached = blocks.get(key);
    if (cached !== undefined) {
      lastKey = key;
      lastBlock = cached;
      return cached;
    }
    const offset = number * BLOCK_BYTES;
    const bytes = this.#readDirect(offset, Math.min(BLOCK_BYTES, this.sizeBytes - offset));
    const keep = (b: Buffer): Buffer => {
      blocks.set(key, b);
      return b;
    };
    return bytes instanceof Promise ? bytes.then(keep) : keep(bytes);
  }

  #readDirect(offset: number, length: number): MaybePromise<Buffer> {
    const buffer = Buffer.allocUnsafeSlow(length);
    if (this.#blocking) {
      let done = 0;
      while (done < length) {
        let n: number;
        try {
          n = readSync(this.#fd, buffer, done, length - done, offset + done);
        } catch (cause) {
          throw new GitwharfError("storage/io", "a file could not be read", { cause });
        }
        if (n === 0) throw shortFile(offset + done, this.sizeBytes);
        done += n;
      }
      return buffer;
    }
    return new Promise((resolve, reject) => {
      const step = (done: number): void => {
        readAsync(this.#fd, buffer, done, length - done, offset + done, (error, n) => {
          if (error) reject(new GitwharfError("storage/io", "a file could not be read", { cause: error }));
          else if (n === 0) reject(shortFile(offset + done, this.sizeBytes));
          else if (done + n < length) step(done + n);
          else resolve(buffer);
        });
      };
      step(0);
    });
  }
}

function shortFile(offset: number, sizeBytes: number): GitwharfError {
  return new GitwharfError("storage/io", `a file ends at ${offset} instead of ${sizeBytes} bytes`);
}
