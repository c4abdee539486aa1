/** A blob that comes in pieces becomes a recipe; chunks that are not kept yet are handed on to be kept. */
import { invariant } from "../../../base/errors.js";
import type { MaybePromise } from "../../../base/maybe-promise.js";
import { adler32 } from "./adler32.js";
import { Chunker } from "./chunk-boundary.js";
import type { Recipe, RecipeChunk } from "./recipe.js";
import { chunkIdOf, storeChunk } from "./stored-chunk.js";

export interface ChunkPlaces {
  /** Those that are kept already, by id, so that they can be named. */
  find(ids: readonly string[]): MaybePromise<ReadonlyMap<string, RecipeChunk>>;
  /** Takes a chunk as it is kept. @returns where it will stand */
  place(stored: Buffer): MaybePromise<{ readonly containerKey: string; readonly offset: number }>;
}

/** Chunks that are looked for together: about 2 MiB of the blob, 8 MiB at most. */
const BATCH_CHUNKS = 16;

export class RecipeBuilder {
  readonly #places: ChunkPlaces;
  readonly #chunker = new Chunker();
  #waiting: { readonly id: string; readonly bytes: Uint8Array }[] = [];
  /** Chunks that are new with this blob: a blob may have one twice. */
  readonly #placed = new Map<string, RecipeChunk>();
  readonly #chunks: RecipeChunk[] = [];
  #sizeBytes = 0;
  #storedBytes = 0;

  constructor(places: ChunkPlaces) {
    this.#places = places;
  }

  /** The caller waits before it goes on, and may use the bytes again then. */
  async append(bytes: Uint8Array): Promise<void> {
    for (const chunk of this.#chunker.append(bytes)) {
      // Of its own: what waits for others outlives the call.
      this.#waiting.push({ id: chunkIdOf(chunk), bytes: Buffer.from(chunk) });
      if (this.#waiting.length >= BATCH_CHUNKS) await this.#keepWaiting();
    }
  }

  /** @returns a recipe of at least one chunk: the blob must not be empty */
  async finish(): Promise<Recipe> {
    const last = this.#chunker.finish();
    if (last !== undefined) this.#waiting.push({ id: chunkIdOf(last), bytes: last });
    await this.#keepWaiting();
    invariant(this.#chunks.length > 0, "an empty blob is not made of chunks");
    return { sizeBytes: this.#sizeBytes, storedBytes: this.#storedBytes, chunks: this.#chunks };
  }

  async #keepWaiting(): Promise<void> {
    const waiting = this.#waiting;
    this.#waiting = [];
    const unknown = new Set(waiting.map(({ id }) => id).filter((id) => !this.#placed.has(id)));
    const kept = unknown.size === 0 ? undefined : await this.#places.find([...unknown]);
    for (const { id, bytes } of waiting) {
      const chunk = this.#placed.get(id) ?? kept?.get(id) ?? (await this.#place(id, bytes));
      this.#chunks.push(chunk);
      this.#sizeBytes += chunk.sizeBytes;
      this.#storedBytes += chunk.storedBytes;
    }
  }

  async #place(id: string, bytes: Uint8Array): Promise<RecipeChunk> {
    const stored = storeChunk(bytes);
    const { containerKey, offset } = await this.#places.place(stored);
    const chunk: RecipeChunk = {
      id,
      containerKey,
      offset,
      storedBytes: stored.length,
      sizeBytes: bytes.length,
      adler32: adler32(bytes),
    };
    this.#placed.set(id, chunk);
    return chunk;
  }
}
