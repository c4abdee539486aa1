/**
 * The copy of one object of the bucket: a file without a name, filled in blocks as it is read. What several want at once is
 * fetched once; what is read in order is fetched ahead, in runs that grow.
 */
import { closeSync } from "node:fs";
import type { ByteRange } from "../../../base/byte-range.js";
import { GitwharfError } from "../../../base/errors.js";
import {
  BLOCK_ABSENT,
  BLOCK_FAILED,
  BLOCK_PRESENT,
  FILE_CLOSED,
  type PartialFileDescriptor,
  PartialFileRange,
} from "../../../base/partial-file-range.js";
import { ioError } from "../../disk/file-errors.js";
import { type MakeRoom, writeMakingRoom } from "../../disk/make-room.js";
import type { Bucket } from "../bucket/bucket.js";
import { type HeldObject, missing, readWhole } from "./held-object.js";
import { HeldRange, OpenDescriptor } from "./held-range.js";

/** Where the bytes come from: the bucket, or what is put together from several of its objects. */
export type ObjectSource = Pick<Bucket, "name" | "stream">;

export interface FillLimits {
  readonly blockBytes: number;
  readonly wholeBytesMax: number;
  readonly aheadBytesMax: number;
}

export interface PartialObjectOptions {
  readonly bucket: ObjectSource;
  readonly key: string;
  readonly fd: number;
  readonly sizeBytes: number;
  readonly channel: string;
  readonly limits: FillLimits;
  readonly onBytes: (bytes: number) => void;
  /** Removes other copies. */
  readonly makeRoom: MakeRoom;
}

export class PartialObject implements HeldObject {
  users = 0;
  presentBytes = 0;
  readonly #options: PartialObjectOptions;
  readonly #descriptor: PartialFileDescriptor;
  readonly #states: Int32Array;
  /** By block; settled when the block is. */
  readonly #fetching = new Map<number, Promise<void>>();
  readonly #stop = new AbortController();
  #blocksAhead = 0;
  #nextInOrder = 0;
  readonly #file: OpenDescriptor;

  constructor(options: PartialObjectOptions) {
    const { fd, sizeBytes, channel, key, limits } = options;
    this.#options = options;
    this.#file = new OpenDescriptor(() => closeSync(fd));
    const states = new SharedArrayBuffer((this.#blocks + 1) * Int32Array.BYTES_PER_ELEMENT);
    this.#states = new Int32Array(states);
    this.#descriptor = {
      kind: "partial-file",
      fd,
      sizeBytes,
      cacheKey: `${channel}/${key}`,
      blockBytes: limits.blockBytes,
      states,
      channel,
    };
  }

  prefix(sizeBytes: number): ByteRange {
    const descriptor = { ...this.#descriptor, sizeBytes };
    const fill = (first: number, last: number): Promise<void> => this.fill(first, last);
    return new HeldRange(new PartialFileRange(descriptor, { blocking: false }, fill), this.#file);
  }

  async readInto(target: Uint8Array, offset: number): Promise<void> {
    if (target.length === 0) return;
    const { blockBytes } = this.#options.limits;
    const end = offset + target.length;
    await this.#file.use(async () => {
      await this.fill(Math.floor(offset / blockBytes), Math.floor((end - 1) / blockBytes));
      await readWhole(this.#options.fd, target, offset, this.#options.key);
    });
  }

  prefetch(): void {
    if (this.#blocks > 0) this.fill(0, 0).catch(() => undefined);
  }

  get isClosed(): boolean {
    return this.#file.isClosed;
  }

  get isInUse(): boolean {
    return this.users > 0 || this.#file.isInUse;
  }

  /** Makes the blocks present. @throws storage/io, storage/corrupt */
  async fill(first: number, last: number): Promise<void> {
    if (this.isClosed) throw new GitwharfError("storage/io", "the store is closed");
    const waits = new Set<Promise<void>>();
    for (let block = first; block <= last; block++) {
      if (Atomics.load(this.#states, block) === BLOCK_PRESENT) continue;
      let fetching = this.#fetching.get(block);
      if (fetching === undefined) {
        this.#startRun(block, this.#endOfRun(block, last));
        fetching = this.#fetching.get(block);
      }
      if (fetching !== undefined) waits.add(fetching);
    }
    await Promise.all(waits);
  }

  /** The file has all bytes. */
  markWhole(): void {
    for (let block = 0; block < this.#blocks; block++) this.#settle(block, BLOCK_PRESENT);
  }

  /** Takes the whole object. */
  async store(parts: readonly Uint8Array[]): Promise<void> {
    await this.#file.use(async () => {
      let offset = 0;
      for (const part of parts) {
        await this.#write(part, offset);
        offset += part.length;
      }
      this.markWhole();
    });
  }

  close(): void {
    if (this.isClosed) return;
    // Nobody fetches for the threads that wait, or will ask.
    Atomics.store(this.#states, this.#states.length - 1, FILE_CLOSED);
    for (let block = 0; block < this.#blocks; block++) {
      Atomics.compareExchange(this.#states, block, BLOCK_ABSENT, BLOCK_FAILED);
      Atomics.notify(this.#states, block);
    }
    this.#file.close();
    this.#stop.abort();
  }

  get #blocks(): number {
    return Math.ceil(this.#options.sizeBytes / this.#options.limits.blockBytes);
  }

  /** The last block of a run that begins here and has to go as far as `last`: more when reading goes on in order. */
  #endOfRun(first: number, last: number): number {
    const { sizeBytes, limits } = this.#options;
    const final = this.#blocks - 1;
    let end = final;
    if (sizeBytes > limits.wholeBytesMax) {
      const isInOrder = first === this.#nextInOrder;
      const most = Math.floor(limits.aheadBytesMax / limits.blockBytes);
      this.#blocksAhead = isInOrder ? Math.min(most, Math.max(4, this.#blocksAhead * 2)) : 0;
      end = Math.min(final, last + this.#blocksAhead);
    }
    for (let block = first + 1; block <= end; block++) {
      if (Atomics.load(this.#states, block) === BLOCK_PRESENT || this.#fetching.has(block)) return block - 1;
    }
    return end;
  }

  /** One request; each block is there as soon as its bytes are. */
  #startRun(first: number, last: number): void {
    const settlers: { resolve: () => void; reject: (error: unknown) => void }[] = [];
    for (let block = first; block <= last; block++) {
      const settled = new Promise<void>((resolve, reject) => {
        settlers.push({ resolve, reject });
      });
      // What was fetched ahead may be waited for by nobody.
      settled.catch(() => undefined);
      Atomics.store(this.#states, block, BLOCK_ABSENT);
      this.#fetching.set(block, settled);
    }
    this.#nextInOrder = last + 1;
    let done = first;
    const settle = (block: number, state: number, error?: unknown): void => {
      this.#fetching.delete(block);
      this.#settle(block, state);
      const settler = settlers[block - first];
      if (state === BLOCK_PRESENT) settler?.resolve();
      else settler?.reject(error);
    };
    const run = async (): Promise<void> => {
      const { bucket, key, sizeBytes, limits } = this.#options;
      const start = first * limits.blockBytes;
      const end = Math.min(sizeBytes, (last + 1) * limits.blockBytes);
      let offset = start;
      for await (const bytes of bucket.stream(key, { start, end }, { signal: this.#stop.signal })) {
        await this.#write(bytes, offset);
        offset += bytes.length;
        for (; done <= last && (offset >= (done + 1) * limits.blockBytes || offset === sizeBytes); done++)
          settle(done, BLOCK_PRESENT);
      }
      if (offset < end)
        throw new GitwharfError(
          "storage/io",
          `'${key}' in ${bucket.name} ends at ${offset} instead of ${end} bytes`,
        );
    };
    Promise.resolve(this.#file.use(run)).catch((failure: unknown) => {
      const error = missing(failure, this.#options.bucket, this.#options.key);
      for (; done <= last; done++) settle(done, BLOCK_FAILED, error);
    });
  }

  #settle(block: number, state: number): void {
    if (Atomics.load(this.#states, block) !== BLOCK_PRESENT && state === BLOCK_PRESENT) {
      const { limits, sizeBytes } = this.#options;
      const bytes = Math.min(limits.blockBytes, sizeBytes - block * limits.blockBytes);
      this.presentBytes += bytes;
      if (!this.isClosed) this.#options.onBytes(bytes);
    }
    Atomics.store(this.#states, block, state);
    Atomics.notify(this.#states, block);
  }

  async #write(bytes: Uint8Array, offset: number): Promise<void> {
    if (this.isClosed) throw new GitwharfError("storage/io", "the store is closed");
    const { fd, key, makeRoom } = this.#options;
    try {
      await writeMakingRoom(fd, bytes, offset, makeRoom);
    } catch (cause) {
      throw ioError("writing the local copy of", key, cause);
    }
  }
}
