/** A blob that comes in pieces becomes a recipe; chunks that are not kept yet are handed on to be kept. */
import { invariant } from "../../../base/errors.js";
import { adler32 } from "./adler32.js";
import { Chunker } from "./chunk-boundary.js";
import type { Recipe, RecipeChunk } from "./recipe.js";
import { chunkIdOf, storeChunk } from "./stored-chunk.js";

export interface ChunkPlaces {
  /** The chunk of that id, when it is kept already. */
  find(id: string): RecipeChunk | undefined;
  /** Takes a chunk as it is kept. @returns where it will stand */
  place(stored: Buffer): { readonly containerKey: string; readonly offset: number };
}

export class RecipeBuilder {
  readonly #places: ChunkPlaces;
  readonly #chunker = new Chunker();
  /** Chunks that are new with this blob: a blob may have one twice. */
  readonly #placed = new Map<string, RecipeChunk>();
  readonly #chunks: RecipeChunk[] = [];
  #sizeBytes = 0;
  #storedBytes = 0;

  constructor(places: ChunkPlaces) {
    this.#places = places;
  }

  append(bytes: Uint8Array): void {
    for (const chunk of this.#chunker.append(bytes)) this.#add(chunk);
  }

  /** @returns a recipe of at least one chunk: the blob must not be empty */
  finish(): Recipe {
    const last = this.#chunker.finish();
    if (last !== undefined) this.#add(last);
    invariant(this.#chunks.length > 0, "an empty blob is not made of chunks");
    return { sizeBytes: this.#sizeBytes, storedBytes: this.#storedBytes, chunks: this.#chunks };
  }

  #add(bytes: Uint8Array): void {
    const id = chunkIdOf(bytes);
    let chunk = this.#placed.get(id) ?? this.#places.find(id);
    if (chunk === undefined) {
      const stored = storeChunk(bytes);
      chunk = {
        id,
        ...this.#places.place(stored),
        storedBytes: stored.length,
        sizeBytes: bytes.length,
        adler32: adler32(bytes),
      };
      this.#placed.set(id, chunk);
    }
    this.#chunks.push(chunk);
    this.#sizeBytes += chunk.sizeBytes;
    this.#storedBytes += chunk.storedBytes;
  }
}
