/**
 * Bytes that are far away, with a file here that fills as they are read. The thread that owns the file fetches; a worker
 * thread, which waits for its bytes, asks that thread over a channel and sleeps until they are there.
 *
 *     state of a block:  ABSENT ──► PRESENT (for ever)
 *                           └─────► FAILED ──► ABSENT (who comes next asks again, until the file is closed)
 */
import { BroadcastChannel } from "node:worker_threads";
import type { ByteRange } from "./byte-range.js";
import { GitwharfError } from "./errors.js";
import { FileRange } from "./file-range.js";
import type { MaybePromise } from "./maybe-promise.js";

export const BLOCK_ABSENT = 0;
export const BLOCK_PRESENT = 1;
export const BLOCK_FAILED = -1;
/** Behind the states of the blocks: the owner fetches nothing more, and the descriptor may be another file's. */
export const FILE_CLOSED = 1;

export interface PartialFileDescriptor {
  readonly kind: "partial-file";
  readonly fd: number;
  readonly sizeBytes: number;
  /** Of the bytes, wherever they are: two files with the same key hold the same. */
  readonly cacheKey: string;
  /** A multiple of FILE_BLOCK_BYTES. */
  readonly blockBytes: number;
  /** One Int32 a block of the whole file, and one of the file. */
  readonly states: SharedArrayBuffer;
  /** Where the owner listens for `FillRequest`s. */
  readonly channel: string;
}

/** What a worker asks for: blocks `first` to `last` of a file. */
export interface FillRequest {
  readonly cacheKey: string;
  readonly first: number;
  readonly last: number;
}

/** The owner tries again by itself before it gives up; longer than that nobody waits. */
const WAIT_MS_MAX = 300_000;

/** Of this thread, to owners' threads. They keep no process alive. */
const channels = new Map<string, BroadcastChannel>();

export class PartialFileRange implements ByteRange {
  readonly sizeBytes: number;
  readonly #descriptor: PartialFileDescriptor;
  readonly #states: Int32Array;
  readonly #file: FileRange;
  readonly #fill: ((first: number, last: number) => Promise<void>) | undefined;

  /** @param fill in the owner's thread: makes blocks present, or rejects */
  constructor(
    descriptor: PartialFileDescriptor,
    options: { readonly blocking: boolean },
    fill?: (first: number, last: number) => Promise<void>,
  ) {
    this.#descriptor = descriptor;
    this.sizeBytes = descriptor.sizeBytes;
    this.#states = new Int32Array(descriptor.states);
    this.#file = new FileRange(descriptor, options);
    this.#fill = fill;
  }

  read(offset: number, length: number): MaybePromise<Buffer> {
    const start = Math.min(offset, this.sizeBytes);
    const end = Math.min(start + length, this.sizeBytes);
    const { blockBytes } = this.#descriptor;
    const first = Math.floor(start / blockBytes);
    const last = Math.floor(Math.max(end - 1, start) / blockBytes);
    this.#mustBeOpen();
    if (start === end || this.#arePresent(first, last)) return this.#file.read(start, end - start);
    if (this.#fill !== undefined)
      return this.#fill(first, last).then(() => this.#file.read(start, end - start));
    this.#await(first, last);
    this.#mustBeOpen();
    return this.#file.read(start, end - start);
  }

  describe(): PartialFileDescriptor {
    return this.#descriptor;
  }

  #arePresent(first: number, last: number): boolean {
    for (let block = first; block <= last; block++)
      if (Atomics.load(this.#states, block) !== BLOCK_PRESENT) return false;
    return true;
  }

  #mustBeOpen(): void {
    if (Atomics.load(this.#states, this.#states.length - 1) === FILE_CLOSED)
      throw new GitwharfError(
        "storage/io",
        "a pack was read after it was given back, or the store is closed",
      );
  }

  /** Only in worker threads: the owner's thread must be free to fetch. */
  #await(first: number, last: number): void {
    const { channel: name, cacheKey } = this.#descriptor;
    for (let block = first; block <= last; block++)
      Atomics.compareExchange(this.#states, block, BLOCK_FAILED, BLOCK_ABSENT);
    // Behind that: whoever closes the file later wakes those who wait for these blocks.
    this.#mustBeOpen();
    let channel = channels.get(name);
    if (channel === undefined) {
      channel = new BroadcastChannel(name);
      channel.unref();
      channels.set(name, channel);
    }
    const request: FillRequest = { cacheKey, first, last };
    channel.postMessage(request);
    for (let block = first; block <= last; block++) {
      let state = Atomics.load(this.#states, block);
      while (state === BLOCK_ABSENT) {
        if (Atomics.wait(this.#states, block, BLOCK_ABSENT, WAIT_MS_MAX) === "timed-out")
          throw new GitwharfError("storage/io", "bytes of a pack were not fetched in five minutes");
        state = Atomics.load(this.#states, block);
      }
      if (state === BLOCK_FAILED)
        throw new GitwharfError("storage/io", "bytes of a pack could not be fetched");
    }
  }
}
