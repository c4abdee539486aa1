/** A pack that is durable in the bucket, and what has to be written down of it when a root comes to name it. */
import type { MaybePromise } from "../../base/maybe-promise.js";
import type { Move } from "./chunks/chunk-task.js";
import type { Recipe, RecipeChunk } from "./chunks/recipe.js";
import type { NewPack } from "./metadata/metadata-store.js";
import type { PackLeaf } from "./tree/pack-leaves.js";

/** Its place in the order of packs is given when it is committed. */
export type NewPackLeaf = Omit<PackLeaf, "sequence">;

export interface StoredPack {
  readonly leaf: NewPackLeaf;
  readonly row: NewPack;
  /** Where some of its bytes are chunks. */
  readonly chunked?: ChunkedPack | undefined;
}

/** Bytes [start, start + recipe.storedBytes) of a pack: the kept chunks of a blob, one behind the other. */
export interface Splice {
  readonly start: number;
  readonly recipe: Recipe;
}

export interface ChunkedPack {
  /** By ascending start. */
  readonly splices: readonly Splice[];
  /** Containers that were written for it. */
  readonly containers: readonly NewPack[];
  /** What is in these. */
  readonly chunks: readonly RecipeChunk[];
  /** Ids of the other containers that it needs. */
  readonly held: readonly string[];
  /** undefined: its bytes are those that it came with. */
  readonly former?: FormerPack | undefined;
}

/** A pack before some of its entries became others: the same objects in the same order. */
export interface FormerPack {
  readonly trailer: string;
  readonly moves: readonly Move[];
}

/** A splice of a pack that a root names: its recipe is read when its bytes are. */
export interface OpenSplice {
  readonly start: number;
  readonly storedBytes: number;
  readonly recipe: () => MaybePromise<Recipe>;
}

/** A leaf as a state has it. */
export interface OpenLeaf extends PackLeaf {
  /** By ascending start. undefined: all bytes are in the object. @throws storage/io, storage/corrupt */
  readonly splices?: (() => Promise<readonly OpenSplice[]>) | undefined;
}
