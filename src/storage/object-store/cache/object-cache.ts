/**
 * Local copies of parts of the bucket's objects, shared by all requests of a process. An object is a file that fills in
 * blocks as it is read; what several want at once is fetched once, and what is read in order is fetched ahead, in runs
 * that grow. Objects are written once and never change, so that nothing here goes stale.
 *
 * Files have no name: what is left when the process ends, however it ends, the system takes back. When there is too much,
 * the file that was used longest ago goes; then others are asked to give back what they only keep at hand (`onFull`). Those in
 * use stay, even if they are more than `bytesMax` together.
 */
import { randomUUID } from "node:crypto";
import { mkdir, unlink } from "node:fs/promises";
import { setTimeout as delay, setImmediate as others } from "node:timers/promises";
import { BroadcastChannel } from "node:worker_threads";
import type { ByteRange } from "../../../base/byte-range.js";
import { GitwharfError, invariant } from "../../../base/errors.js";
import { FILE_BLOCK_BYTES } from "../../../base/file-range.js";
import type { FillRequest } from "../../../base/partial-file-range.js";
import { closeDescriptor, openDescriptor, statDescriptor } from "../../disk/descriptor.js";
import { ioError } from "../../disk/file-errors.js";
import type { Bucket, BucketFile } from "../bucket/bucket.js";
import { type HeldObject, LocalObject, missing } from "./held-object.js";
import { type FillLimits, type ObjectSource, PartialObject } from "./partial-object.js";

export interface ObjectCacheOptions {
  readonly bucket: Bucket;
  /** Where the files are; made when it is missing. */
  readonly directory: string;
  /** Of all files together. @default 10 GiB */
  readonly bytesMax?: number;
  /** What one look at an object fetches at least; a multiple of 64 KiB. @default 256 KiB */
  readonly blockBytes?: number;
  /** Objects up to this size are fetched whole. @default 4 MiB */
  readonly wholeBytesMax?: number;
  /** How far a reader that goes on in order is kept ahead at most. @default 64 MiB */
  readonly aheadBytesMax?: number;
  /**
   * All that is here is open, and it is too much: gives back some of what nobody reads.
   * @returns false when there is nothing of that kind
   */
  readonly onFull?: () => boolean;
}

/** One object, for as long as it is not released. */
export interface CachedObject {
  /** The first bytes of it. */
  prefix(sizeBytes: number): ByteRange;
  /** Fills the target from there on. @throws storage/io, storage/corrupt */
  readInto(target: Uint8Array, offset: number): Promise<void>;
  /** Begins to fetch how it begins; nobody waits for that. */
  prefetch(): void;
  /** Idempotent. */
  release(): void;
}

const KiB = 1024;
const MiB = 1024 * KiB;
/** Open files. */
const OBJECTS_MAX = 4096;
/** On a full disk, with all copies in use. */
const ROOM_ASKED_MAX = 40;
const ROOM_WAIT_MS = 50;

export class ObjectCache {
  readonly #bucket: Bucket;
  readonly #directory: string;
  readonly #bytesMax: number;
  readonly #limits: FillLimits;
  /** Least recently used first. */
  readonly #objects = new Map<string, HeldObject>();
  readonly #opening = new Map<string, Promise<HeldObject>>();
  readonly #channelName = `gitwharf-object-cache-${randomUUID()}`;
  readonly #channel: BroadcastChannel;
  readonly #onFull: () => boolean;
  #bytes = 0;
  #copiesGone = 0;
  #isEvicting = false;
  #made: Promise<unknown> | undefined;
  #isClosed = false;

  constructor(options: ObjectCacheOptions) {
    this.#bucket = options.bucket;
    this.#directory = options.directory;
    this.#bytesMax = options.bytesMax ?? 10 * 1024 * MiB;
    this.#onFull = options.onFull ?? (() => false);
    this.#limits = {
      blockBytes: options.blockBytes ?? 256 * KiB,
      wholeBytesMax: options.wholeBytesMax ?? 4 * MiB,
      aheadBytesMax: options.aheadBytesMax ?? 64 * MiB,
    };
    invariant(
      this.#limits.blockBytes % FILE_BLOCK_BYTES === 0,
      "blocks of the cache are multiples of 64 KiB",
    );
    this.#channel = new BroadcastChannel(this.#channelName);
    this.#channel.onmessage = (message): void => this.#onRequest((message as { data: FillRequest }).data);
    this.#channel.unref();
  }

  /** Bytes that are here now. */
  get sizeBytes(): number {
    return this.#bytes;
  }

  /**
   * @param sizeBytes of the whole object, as the pack's leaf tells it
   * @param source of what is no object of the bucket by itself: its key is one that no object has. @default the bucket
   * @throws storage/io; what is not in the bucket shows when it is read
   */
  async open(key: string, sizeBytes: number, source?: ObjectSource): Promise<CachedObject> {
    const object = await this.#take(key, sizeBytes, source);
    let released = false;
    return {
      prefix: (length) => object.prefix(length),
      readInto: (target, offset) => object.readInto(target, offset),
      prefetch: () => object.prefetch(),
      release: () => {
        if (released) return;
        released = true;
        object.users--;
        this.#evict();
      },
    };
  }

  /** What was just put into the bucket need not be fetched again. @throws storage/io */
  async adopt(key: string, parts: readonly Uint8Array[]): Promise<void> {
    const sizeBytes = parts.reduce((sum, part) => sum + part.length, 0);
    const object = await this.#take(key, sizeBytes);
    try {
      if (object instanceof PartialObject) await object.store(parts);
    } finally {
      object.users--;
      this.#evict();
    }
  }

  /** The same of a file that is never written to again: it becomes the copy, whatever becomes of its name. Never rejects. */
  async adoptFile(
    key: string,
    file: { readonly path: string; readonly sizeBytes: number; readonly source?: ObjectSource },
  ): Promise<void> {
    const { path, sizeBytes, source } = file;
    if (source === undefined && this.#bucket.openFile !== undefined) return;
    let fd: number | undefined;
    try {
      fd = await openDescriptor(path, "r");
      const { size } = await statDescriptor(fd);
      if (size !== sizeBytes || this.#isClosed || this.#objects.has(key) || this.#opening.has(key)) return;
      const object = this.#copyIn(fd, key, sizeBytes, source);
      fd = undefined;
      this.#objects.set(key, object);
      object.markWhole();
    } catch {
      // It will be fetched.
    } finally {
      if (fd !== undefined) await closeDescriptor(fd);
    }
  }

  /**
   * The disk is full: all goes that nobody reads. When that is nothing, what is read may be about to be given back (by a request
   * that has failed for want of room, say), so that this waits for it a while.
   * @returns whether anything went
   */
  async makeRoom(): Promise<boolean> {
    const before = this.#copiesGone;
    for (let asked = 1; ; asked++) {
      await this.#giveBack();
      if (this.#copiesGone > before) return true;
      if (this.#isClosed || asked === ROOM_ASKED_MAX) return false;
      await delay(ROOM_WAIT_MS);
    }
  }

  async #giveBack(): Promise<void> {
    do {
      this.#dropUnused();
      // What is given back is free a moment later.
      await others();
    } while (!this.#isClosed && this.#onFull());
    this.#dropUnused();
  }

  #dropUnused(): void {
    for (const [key, object] of this.#objects) if (!object.isInUse) this.#drop(key, object);
  }

  #drop(key: string, object: HeldObject): void {
    this.#objects.delete(key);
    this.#bytes -= object.presentBytes;
    // Its file may be larger than what is present in it.
    if (object instanceof PartialObject) this.#copiesGone++;
    object.close();
  }

  /** Whoever still reads gets storage/io. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#channel.close();
    await Promise.allSettled(this.#opening.values());
    for (const object of this.#objects.values()) object.close();
    this.#objects.clear();
  }

  /** The caller is one of its users from here on. */
  async #take(key: string, sizeBytes: number, source?: ObjectSource): Promise<HeldObject> {
    for (;;) {
      if (this.#isClosed) throw new GitwharfError("storage/io", "the store is closed");
      const known = this.#objects.get(key);
      if (known !== undefined) {
        this.#objects.delete(key);
        this.#objects.set(key, known);
        known.users++;
        return known;
      }
      let opening = this.#opening.get(key);
      if (opening === undefined) {
        opening = this.#hold(key, sizeBytes, source).finally(() => this.#opening.delete(key));
        this.#opening.set(key, opening);
      }
      const object = await opening;
      // It may have been the one to go already.
      if (object.isClosed) continue;
      object.users++;
      return object;
    }
  }

  async #hold(key: string, sizeBytes: number, source: ObjectSource | undefined): Promise<HeldObject> {
    const cacheKey = `${this.#channelName}/${key}`;
    const local = source === undefined ? await this.#openLocal(key) : undefined;
    const object =
      local === undefined
        ? await this.#openCopy(key, sizeBytes, source)
        : new LocalObject({ fd: local.fd, key, cacheKey });
    if (this.#isClosed) {
      object.close();
      throw new GitwharfError("storage/io", "the store is closed");
    }
    this.#objects.set(key, object);
    this.#evict(object);
    return object;
  }

  async #openLocal(key: string): Promise<BucketFile | undefined> {
    try {
      return await this.#bucket.openFile?.(key);
    } catch (error) {
      throw missing(error, this.#bucket, key);
    }
  }

  async #openCopy(key: string, sizeBytes: number, source: ObjectSource | undefined): Promise<PartialObject> {
    this.#made ??= mkdir(this.#directory, { recursive: true, mode: 0o700 });
    const path = `${this.#directory}/${randomUUID()}`;
    let fd: number;
    try {
      await this.#made;
      fd = await openDescriptor(path, "wx+", 0o600);
    } catch (cause) {
      this.#made = undefined;
      throw ioError("opening a file of the cache in", this.#directory, cause);
    }
    await unlink(path).catch(() => undefined);
    return this.#copyIn(fd, key, sizeBytes, source);
  }

  #copyIn(fd: number, key: string, sizeBytes: number, source: ObjectSource = this.#bucket): PartialObject {
    return new PartialObject({
      bucket: source,
      key,
      fd,
      sizeBytes,
      channel: this.#channelName,
      limits: this.#limits,
      onBytes: (bytes) => {
        this.#bytes += bytes;
        this.#evict();
      },
      makeRoom: () => this.makeRoom(),
    });
  }

  get #isFull(): boolean {
    return this.#bytes > this.#bytesMax || this.#objects.size > OBJECTS_MAX;
  }

  #evict(except?: HeldObject): void {
    // What is given back on being asked comes here, too.
    if (this.#isEvicting) return;
    this.#isEvicting = true;
    try {
      do this.#evictUnused(except);
      while (this.#isFull && !this.#isClosed && this.#onFull());
    } finally {
      this.#isEvicting = false;
    }
  }

  #evictUnused(except: HeldObject | undefined): void {
    if (!this.#isFull) return;
    for (const [key, object] of this.#objects) {
      if (object.isInUse || object === except) continue;
      this.#drop(key, object);
      if (!this.#isFull) return;
    }
  }

  #onRequest({ cacheKey, first, last }: FillRequest): void {
    const object = this.#objects.get(cacheKey.slice(this.#channelName.length + 1));
    // The thread that waits reads its answer in the states of the blocks.
    if (object instanceof PartialObject) object.fill(first, last).catch(() => undefined);
  }
}
