/** A pack that is durable in the bucket, and what has to be written down of it when a root comes to name it. */
import type { NewPack } from "./metadata/metadata-store.js";
import type { PackLeaf } from "./tree/pack-leaves.js";

/** Its place in the order of packs is given when it is committed. */
export type NewPackLeaf = Omit<PackLeaf, "sequence">;

export interface StoredPack {
  readonly leaf: NewPackLeaf;
  readonly row: NewPack;
}
