/** An open file, read by offset through a cache of blocks that all files of a thread share. */
import { read as readAsync, readSync } from "node:fs";
import { LRUCache } from "lru-cache";
import type { ByteRange, ByteRangeDescriptor } from "./byte-range.js";
import { GitwharfError } from "./errors.js";
import type { MaybePromise } from "./maybe-promise.js";

/** What is read of a file at once: whoever fills one while it is read keeps to these blocks. */
export const FILE_BLOCK_BYTES = 64 * 1024;
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
    const first = Math.floor(start / FILE_BLOCK_BYTES);
    const last = Math.floor((end - 1) / FILE_BLOCK_BYTES);
    if (last - first >= 8 || last >= BLOCKS_PER_FILE) return this.#readDirect(start, end - start);
    if (first === last) {
      const block = this.#block(first);
      const from = start - first * FILE_BLOCK_BYTES;
      if (block instanceof Promise) return block.then((b) => b.subarray(from, from + end - start));
      return block.subarray(from, from + end - start);
    }
    const joined = Buffer.allocUnsafe(end - start);
    const waits: Promise<void>[] = [];
    for (let i = first; i <= last; i++) {
      const block = this.#block(i);
      const copy = (b: Buffer): void => {
        const at = i * FILE_BLOCK_BYTES - start;
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
    const offset = number * FILE_BLOCK_BYTES;
    const bytes = this.#readDirect(offset, Math.min(FILE_BLOCK_BYTES, this.sizeBytes - offset));
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
