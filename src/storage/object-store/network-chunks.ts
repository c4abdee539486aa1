/**
 * Where the chunks of one pack come to be, or are: those of the network are found by the database, held, read and checked, since what
 * is damaged must not be named once more; the others go to new containers. All of them are written in order to a file, of which the
 * pack is made.
 */
import type { FileHandle } from "node:fs/promises";
import { crc32 } from "node:zlib";
import { GitwharfError, isGitwharfError } from "../../base/errors.js";
import { runInWorker } from "../../base/worker-pool.js";
import { ioError } from "../disk/file-errors.js";
import { type MakeRoom, writeMakingRoom } from "../disk/make-room.js";
import type { Bucket } from "./bucket/bucket.js";
import type { ChunkContainers } from "./chunk-containers.js";
import type { CheckTask, CutChunk, CutTask, StoreTask } from "./chunks/chunk-task.js";
import type { RecipeChunk } from "./chunks/recipe.js";
import type { ChunkPlaces, ChunkWork } from "./chunks/recipe-builder.js";
import { storedSegments } from "./chunks/splice-entry.js";
import { CHUNK_WORKER } from "./large-blobs.js";
import type { MetadataStore } from "./metadata/metadata-store.js";

export interface NetworkChunksOptions {
  readonly bucket: Bucket;
  readonly metadata: MetadataStore;
  readonly networkId: string;
  readonly containers: ChunkContainers;
  /** What was written to it can be read from it. */
  readonly file: FileHandle;
  readonly makeRoom: MakeRoom;
}

/** Kept chunks that are compressed by one task. */
const STORED_AT_ONCE = 8;

/** In workers, several at once. */
export const WORK_IN_WORKERS: ChunkWork = {
  cut: (bytes, isLast) =>
    runInWorker<CutTask, readonly CutChunk[]>(CHUNK_WORKER, { do: "cut", bytes, isLast }),
  async store(bytes, ranges) {
    const tasks: Promise<readonly Uint8Array[]>[] = [];
    for (let at = 0; at < ranges.length; at += STORED_AT_ONCE)
      tasks.push(
        runInWorker<StoreTask, readonly Uint8Array[]>(CHUNK_WORKER, {
          do: "store",
          bytes,
          ranges: ranges.slice(at, at + STORED_AT_ONCE),
        }),
      );
    return (await Promise.all(tasks)).flat();
  },
};

export class NetworkChunks implements ChunkPlaces {
  /** Containers that others have written. */
  readonly held = new Set<string>();
  /** Those that were placed here. */
  readonly placed: RecipeChunk[] = [];
  readonly #options: NetworkChunksOptions;
  /** Chunks that are in the file already, and where. */
  readonly #written = new Map<string, { readonly chunk: RecipeChunk; readonly at: number }>();
  /** Read, and not in the file yet. */
  readonly #read = new Map<string, Buffer>();
  #fileBytes = 0;
  #crc = 0;

  constructor(options: NetworkChunksOptions) {
    this.#options = options;
  }

  /** Of the file. */
  get fileBytes(): number {
    return this.#fileBytes;
  }

  /** A new entry begins here. */
  begin(): number {
    this.#crc = 0;
    return this.#fileBytes;
  }

  /** Of the entry so far. */
  get crc32(): number {
    return this.#crc;
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.#crc = crc32(bytes, this.#crc);
    try {
      await writeMakingRoom(this.#options.file.fd, bytes, this.#fileBytes, this.#options.makeRoom);
    } catch (cause) {
      throw ioError("writing", "a file of chunks", cause);
    }
    this.#fileBytes += bytes.length;
  }

  async find(ids: readonly string[]): Promise<ReadonlyMap<string, RecipeChunk>> {
    const { metadata, networkId } = this.#options;
    const found = new Map<string, RecipeChunk>();
    for (const id of ids) {
      const written = this.#written.get(id);
      if (written !== undefined) found.set(id, written.chunk);
    }
    const others = ids.filter((id) => !found.has(id));
    if (others.length === 0) return found;
    const kept = await metadata.findChunks(networkId, others);
    const chunks = others.flatMap((id) => kept.get(id) ?? []);
    if (chunks.length === 0) return found;
    const containers = [...new Set(chunks.map(({ containerKey }) => containerKey))];
    const unheld = containers.filter((key) => !this.held.has(key));
    // Before they are read: what goes now is not read, what is read does not go soon.
    if (unheld.length > 0) await metadata.holdContainers(networkId, unheld);
    for (const chunk of await this.#readAll(chunks)) {
      found.set(chunk.id, chunk);
      this.held.add(chunk.containerKey);
    }
    return found;
  }

  async place(stored: Buffer): Promise<{ readonly containerKey: string; readonly offset: number }> {
    return this.#options.containers.place(stored);
  }

  async onChunk(chunk: RecipeChunk, stored: Buffer | undefined): Promise<void> {
    if (stored !== undefined) this.placed.push(chunk);
    const bytes = stored ?? this.#read.get(chunk.id) ?? (await this.#readWritten(chunk));
    this.#read.delete(chunk.id);
    if (!this.#written.has(chunk.id)) this.#written.set(chunk.id, { chunk, at: this.#fileBytes });
    await this.write(bytes);
  }

  async #readWritten({ id, storedBytes }: RecipeChunk): Promise<Buffer> {
    const at = this.#written.get(id)?.at ?? 0;
    const bytes = Buffer.allocUnsafe(storedBytes);
    for (let done = 0; done < storedBytes; ) {
      const { bytesRead } = await this.#options.file.read(bytes, done, storedBytes - done, at + done);
      if (bytesRead === 0)
        throw new GitwharfError("storage/io", "a file of chunks is shorter than was written");
      done += bytesRead;
    }
    return bytes;
  }

  /** @returns those that are there as they should be */
  async #readAll(chunks: readonly RecipeChunk[]): Promise<readonly RecipeChunk[]> {
    const segments = await Promise.all(
      storedSegments({ chunks }).map(async ({ key, start, end }) => this.#readSegment(key, start, end)),
    );
    // Segments are chunks in order.
    const read: { readonly chunk: RecipeChunk; readonly stored: Uint8Array }[] = [];
    let segment = 0;
    let at = 0;
    const lengths = storedSegments({ chunks }).map(({ start, end }) => end - start);
    for (const chunk of chunks) {
      if (at === lengths[segment]) {
        segment++;
        at = 0;
      }
      const bytes = segments[segment];
      const stored = bytes?.subarray(at, at + chunk.storedBytes);
      at += chunk.storedBytes;
      if (stored?.length === chunk.storedBytes) read.push({ chunk, stored: Uint8Array.from(stored) });
    }
    const areRight = await runInWorker<CheckTask, readonly boolean[]>(CHUNK_WORKER, {
      do: "check",
      chunks: read.map(({ chunk: { id, sizeBytes }, stored }) => ({ stored, id, sizeBytes })),
    });
    return read.flatMap(({ chunk, stored }, i) => {
      if (areRight[i] !== true) return [];
      this.#read.set(chunk.id, Buffer.from(stored.buffer));
      return [chunk];
    });
  }

  /** undefined: the container has gone. */
  async #readSegment(key: string, start: number, end: number): Promise<Buffer | undefined> {
    try {
      return await this.#options.bucket.get(key, { start, end });
    } catch (error) {
      if (isGitwharfError(error, "storage/not-found")) return undefined;
      throw error;
    }
  }
}
