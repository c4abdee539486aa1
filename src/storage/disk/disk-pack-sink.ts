/**
 * A pack under construction in a quarantine directory. A small one stays in memory until it is finished and is then
 * written at once; a larger one goes to a file as it comes.
 *
 * Order of durability: content of pack, index and reverse index is synced in parallel as soon as it is complete,
 * while the push is still being checked; `synced` is awaited before anything is published.
 */
import { rename } from "node:fs/promises";
import type { ByteRange } from "../../base/byte-range.js";
import { FileRange } from "../../base/byte-range.js";
import { GitwharfError } from "../../base/errors.js";
import type { ObjectFormat } from "../../object/object-format.js";
import { Pack } from "../../pack/pack.js";
import { PackIndex } from "../../pack/pack-index.js";
import type { PackSink } from "../contracts/quarantine.js";
import { GrowingBuffer } from "../growing-buffer.js";
import { closeDescriptor, openDescriptor, syncDescriptor, truncateDescriptor } from "./descriptor.js";
import { ioError } from "./file-errors.js";
import { type MakeRoom, writeMakingRoom } from "./make-room.js";
import { DescriptorRange, PackFile } from "./pack-file.js";

/** A pack of this size goes to a file. */
const MEMORY_BYTES_MAX = 1024 * 1024;
/** So much is handed to the disk at once while more arrives, so that little is left to wait for at the end. */
const SYNC_AHEAD_BYTES = 16 * 1024 * 1024;
/** As git makes packs and indexes: nobody changes them. */
const PACK_MODE = 0o444;

let serials = 0;

export interface FinishedPack {
  /** `pack-<trailer>` */
  readonly name: string;
  readonly file: PackFile;
  /** `.pack`, `.mtimes`, `.rev`, `.idx`: those that were written, in the order in which they are published. */
  readonly endings: readonly string[];
  /** Resolves when all content is on the disk. */
  readonly synced: Promise<void>;
}

export interface DiskPackSinkOptions {
  /** Makes `…/pack` in the quarantine when it is first needed, and answers with its path. */
  readonly directory: () => Promise<string>;
  readonly objectFormat: ObjectFormat;
  readonly sync: boolean;
  readonly onFinish: (finished: FinishedPack) => void;
  /** When the disk is full. @default nothing can be removed */
  readonly makeRoom?: MakeRoom;
}

export class DiskPackSink implements PackSink {
  readonly #options: DiskPackSinkOptions;
  readonly #serial = serials++;
  #memory: GrowingBuffer | undefined = new GrowingBuffer();
  #fd: number | undefined;
  #path: string | undefined;
  #spilling: Promise<void> | undefined;
  #sizeBytes = 0;
  #syncAhead: Promise<void> | undefined;
  #syncedBytes = 0;
  /** Grows with every change, so that no cache takes new bytes for old. */
  #change = 0;
  #state: "open" | "finished" | "aborted" = "open";

  constructor(options: DiskPackSinkOptions) {
    this.#options = options;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** Appends may overlap: each has its place from the moment of the call. */
  async append(bytes: Uint8Array): Promise<void> {
    this.#changing();
    const at = this.#sizeBytes;
    this.#sizeBytes += bytes.length;
    if (this.#memory !== undefined && this.#sizeBytes <= MEMORY_BYTES_MAX) {
      this.#memory.append(bytes);
      return;
    }
    const fd = await this.#spilled();
    await this.#write(fd, bytes, at);
    if (this.#options.sync && at - this.#syncedBytes >= SYNC_AHEAD_BYTES) this.#startSyncAhead(fd, at);
  }

  async overwrite(offset: number, bytes: Uint8Array): Promise<void> {
    this.#changing();
    if (offset + bytes.length > this.#sizeBytes) {
      throw new GitwharfError("base/invariant", "bytes were overwritten past the end of a pack");
    }
    if (this.#memory !== undefined) this.#memory.overwrite(offset, bytes);
    else await this.#write(await this.#spilled(), bytes, offset);
  }

  async truncate(sizeBytes: number): Promise<void> {
    this.#changing();
    if (sizeBytes >= this.#sizeBytes) return;
    this.#sizeBytes = sizeBytes;
    if (this.#memory !== undefined) this.#memory.truncate(sizeBytes);
    else await this.#doing(truncateDescriptor(await this.#spilled(), sizeBytes));
  }

  range(): ByteRange {
    if (this.#memory !== undefined) return this.#memory.range();
    if (this.#fd === undefined)
      throw new GitwharfError("base/invariant", "a pack was read while an append was under way");
    return new FileRange(this.#fileKey(this.#fd), { blocking: false });
  }

  async finish(files: {
    readonly trailer: string;
    readonly index: SharedArrayBuffer;
    readonly reverseIndex?: Uint8Array;
    readonly mtimes?: Uint8Array;
  }): Promise<Pack> {
    this.#changing();
    this.#state = "finished";
    const name = `pack-${files.trailer}`;
    const directory = await this.#options.directory();
    const memory = this.#memory;
    const fd = this.#fd;
    const side: [string, Uint8Array][] = [[".idx", Buffer.from(files.index)]];
    if (files.reverseIndex !== undefined) side.unshift([".rev", files.reverseIndex]);
    // Before the index, from which on the pack counts: nobody takes it for one of objects that are needed.
    if (files.mtimes !== undefined) side.unshift([".mtimes", files.mtimes]);
    const path = `${directory}/${name}`;
    const syncs: Promise<void>[] = [];
    const written = side.map(([ending, bytes]) => this.#writeFile(`${path}${ending}`, bytes, syncs));
    if (memory !== undefined) written.push(this.#writeFile(`${path}.pack`, memory.bytes(), syncs));
    else if (fd !== undefined) {
      if (this.#options.sync) syncs.push(this.#doing(this.#syncRest(fd)));
      written.push(this.#rename(`${path}.pack`));
    }
    // Failures of the syncing are told by `synced`; until then nobody may be listening.
    const settle = Promise.all(written)
      .then(() => Promise.all(syncs))
      .then(() => undefined);
    settle.catch(() => undefined);
    await Promise.all(written);
    const bytes = memory !== undefined ? memory.finish() : new DescriptorRange(this.#fileKey(fd ?? -1));
    const key = `quarantine-${this.#serial}`;
    const pack = new Pack({
      key,
      name,
      index: PackIndex.parse(files.index, this.#options.objectFormat),
      bytes,
    });
    const file = new PackFile({ pack, path, modifiedMs: Date.now() });
    this.#options.onFinish({
      name,
      file,
      endings: [".pack", ...side.map(([ending]) => ending)],
      synced: settle,
    });
    return pack;
  }

  async abort(): Promise<void> {
    if (this.#state !== "open") return;
    this.#state = "aborted";
    this.#memory = undefined;
    await this.#spilling?.catch(() => undefined);
    await this.#syncAhead?.catch(() => undefined);
    if (this.#fd !== undefined) await closeDescriptor(this.#fd);
    // The file itself goes with the quarantine directory.
    this.#fd = undefined;
  }

  #fileKey(fd: number): { fd: number; sizeBytes: number; cacheKey: string } {
    const cacheKey = `quarantine-${this.#serial}-${this.#change}`;
    return { fd, sizeBytes: this.#sizeBytes, cacheKey };
  }

  #changing(): void {
    if (this.#state !== "open")
      throw new GitwharfError("base/invariant", `a pack was changed after it was ${this.#state}`);
    this.#change++;
  }

  /** Moves what is in memory to a file, once. */
  async #spilled(): Promise<number> {
    const memory = this.#memory;
    if (memory !== undefined) {
      this.#memory = undefined;
      this.#spilling = this.#spill(memory);
    }
    await this.#spilling;
    if (this.#fd === undefined) throw new GitwharfError("storage/io", "the pack was dropped");
    return this.#fd;
  }

  async #spill(memory: GrowingBuffer): Promise<void> {
    const path = `${await this.#options.directory()}/tmp_pack_${this.#serial}`;
    const fd = await this.#doing(openDescriptor(path, "wx+", PACK_MODE));
    this.#path = path;
    this.#fd = fd;
    await this.#write(fd, memory.bytes(), 0);
  }

  #startSyncAhead(fd: number, sizeBytes: number): void {
    this.#syncedBytes = sizeBytes;
    // An error that the disk reports once must not be lost: it is thrown when the rest is synced.
    const before = this.#syncAhead ?? Promise.resolve();
    this.#syncAhead = before.then(() => syncDescriptor(fd));
    this.#syncAhead.catch(() => undefined);
  }

  async #syncRest(fd: number): Promise<void> {
    await this.#syncAhead;
    await syncDescriptor(fd);
  }

  async #rename(path: string): Promise<void> {
    if (this.#path !== undefined) await this.#doing(rename(this.#path, path));
    this.#path = path;
  }

  async #writeFile(path: string, bytes: Uint8Array, syncs: Promise<void>[]): Promise<void> {
    const fd = await this.#doing(openDescriptor(path, "wx", PACK_MODE));
    try {
      await this.#write(fd, bytes, 0);
    } catch (error) {
      await closeDescriptor(fd);
      throw error;
    }
    if (this.#options.sync) {
      const sync = this.#syncAndClose(fd);
      sync.catch(() => undefined);
      syncs.push(sync);
    } else await closeDescriptor(fd);
  }

  async #syncAndClose(fd: number): Promise<void> {
    try {
      await this.#doing(syncDescriptor(fd));
    } finally {
      await closeDescriptor(fd);
    }
  }

  #write(fd: number, bytes: Uint8Array, at: number): Promise<void> {
    return this.#doing(writeMakingRoom(fd, bytes, at, this.#options.makeRoom));
  }

  async #doing<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (cause) {
      throw ioError("writing", this.#path ?? "a pack", cause);
    }
  }
}
