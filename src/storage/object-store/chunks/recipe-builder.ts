/**
 * A blob that comes in pieces becomes a recipe; chunks that are not kept yet are handed on to be kept. It holds a window of
 * the blob, and what is kept of that.
 */
import { invariant } from "../../../base/errors.js";
import type { MaybePromise } from "../../../base/maybe-promise.js";
import { CHUNK_BYTES_MAX } from "./chunk-boundary.js";
import type { CutChunk } from "./chunk-task.js";
import { cutChunks, storeChunks } from "./chunk-work.js";
import type { Recipe, RecipeChunk } from "./recipe.js";

export interface ChunkPlaces {
  /** Those that are kept already, by id, so that they can be named. */
  find(ids: readonly string[]): MaybePromise<ReadonlyMap<string, RecipeChunk>>;
  /** Takes a chunk as it is kept. @returns where it will stand */
  place(stored: Buffer): MaybePromise<{ readonly containerKey: string; readonly offset: number }>;
  /** Is told each chunk of the blob in order. @param stored of one that was placed just now */
  onChunk?(chunk: RecipeChunk, stored: Buffer | undefined): MaybePromise<void>;
}

/** Where the work is done. */
export interface ChunkWork {
  cut(bytes: Uint8Array, isLast: boolean): MaybePromise<readonly CutChunk[]>;
  store(bytes: Uint8Array, ranges: readonly CutChunk[]): MaybePromise<readonly Uint8Array[]>;
}

const WORK_HERE: ChunkWork = {
  cut: (bytes, isLast) => cutChunks({ bytes, isLast }),
  store: (bytes, ranges) => storeChunks({ bytes, ranges }),
};

/** Of the blob, at once: about 32 chunks, 8 at least. */
const WINDOW_BYTES = 8 * CHUNK_BYTES_MAX;

export class RecipeBuilder {
  readonly #places: ChunkPlaces;
  readonly #work: ChunkWork;
  /** Shared: a worker sees it without a copy. */
  readonly #window = new Uint8Array(new SharedArrayBuffer(WINDOW_BYTES));
  #windowBytes = 0;
  /** Chunks that the blob has so far: it may have one twice. */
  readonly #known = new Map<string, RecipeChunk>();
  readonly #chunks: RecipeChunk[] = [];
  #sizeBytes = 0;
  #storedBytes = 0;

  constructor(places: ChunkPlaces, work: ChunkWork = WORK_HERE) {
    this.#places = places;
    this.#work = work;
  }

  /** The caller waits before it goes on, and may use the bytes again then. */
  async append(bytes: Uint8Array): Promise<void> {
    for (let from = 0; from < bytes.length; ) {
      const part = bytes.subarray(from, from + WINDOW_BYTES - this.#windowBytes);
      this.#window.set(part, this.#windowBytes);
      this.#windowBytes += part.length;
      from += part.length;
      if (this.#windowBytes === WINDOW_BYTES) await this.#keepWindow(false);
    }
  }

  /** @returns a recipe of at least one chunk: the blob must not be empty */
  async finish(): Promise<Recipe> {
    await this.#keepWindow(true);
    invariant(this.#chunks.length > 0, "an empty blob is not made of chunks");
    return { sizeBytes: this.#sizeBytes, storedBytes: this.#storedBytes, chunks: this.#chunks };
  }

  async #keepWindow(isLast: boolean): Promise<void> {
    const window = this.#window.subarray(0, this.#windowBytes);
    const cuts = await this.#work.cut(window, isLast);
    const unknown = new Set(cuts.map(({ id }) => id).filter((id) => !this.#known.has(id)));
    if (unknown.size > 0)
      for (const [id, chunk] of await this.#places.find([...unknown])) {
        this.#known.set(id, chunk);
        unknown.delete(id);
      }
    const fresh = cuts.filter(({ id }) => unknown.delete(id));
    const stored = new Map<string, Buffer>();
    for (const [i, bytes] of (await this.#work.store(window, fresh)).entries())
      stored.set((fresh[i] as CutChunk).id, Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    for (const cut of cuts) await this.#keep(cut, stored);
    const rest = cuts.at(-1)?.end ?? 0;
    this.#window.copyWithin(0, rest, this.#windowBytes);
    this.#windowBytes -= rest;
  }

  async #keep({ id, start, end, adler32 }: CutChunk, stored: ReadonlyMap<string, Buffer>): Promise<void> {
    let chunk = this.#known.get(id);
    let placed: Buffer | undefined;
    if (chunk === undefined) {
      placed = stored.get(id);
      invariant(placed !== undefined, "a new chunk was not compressed");
      const place = await this.#places.place(placed);
      chunk = { id, ...place, storedBytes: placed.length, sizeBytes: end - start, adler32 };
      this.#known.set(id, chunk);
    }
    this.#chunks.push(chunk);
    this.#sizeBytes += chunk.sizeBytes;
    this.#storedBytes += chunk.storedBytes;
    await this.#places.onChunk?.(chunk, placed);
  }
}
