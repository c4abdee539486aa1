/**
 * What the tree of a repository's state is made of: nodes, pieces of bytes that are never changed, each named by the
 * SHA-256 of all of its bytes (`sha256sum` of a stored node prints its name). The first four bytes say which format
 * follows, and in which version, so that no node can be taken for one of another type.
 *
 *     OFFSET  SIZE   MEANING
 *     0       4      type: `gwr1` a ROOT (root-node.ts), `gwt1` a node of a tree (tree-node.ts),
 *                    `gwc1` a piece of a recipe (chunks/recipe.ts)
 *     4       …      as the type says
 *
 * Example: the bytes `67 77 74 31 00 01 00 01 61 01 62` are a leaf that holds `a` → `b`, `71d2b5fb…`.
 *
 * A node that is larger than NODE_BYTES_MAX does not exist: nobody has to hash or parse it.
 */
import { hash } from "node:crypto";
import type { MaybePromise } from "../../../base/maybe-promise.js";
import { corrupt } from "./canonical-bytes.js";

/** Lower-case hexadecimal SHA-256 of a node's bytes. */
export type NodeId = string;

export const NODE_ID_BYTES = 32;
export const NODE_BYTES_MAX = 256 * 1024;

/** Where nodes are found: PostgreSQL, a cache, a map. */
export interface NodeReader {
  /**
   * The bytes of many nodes in one round trip, in order. What is returned is not changed any more.
   * @throws storage/io, storage/corrupt when one is not there
   */
  read(ids: readonly NodeId[]): MaybePromise<readonly Buffer[]>;
}

/** Nodes that were made and are to be kept, by name. */
export type FreshNodes = ReadonlyMap<NodeId, Buffer>;

export function nodeIdOf(bytes: Uint8Array): NodeId {
  return hash("sha256", bytes, "hex");
}

export function isNodeId(text: string): boolean {
  return /^[0-9a-f]{64}$/.test(text);
}

/** @throws storage/corrupt when the bytes are not those of that name */
export function checkNode(id: NodeId, bytes: Buffer | undefined): Buffer {
  if (bytes === undefined) throw corrupt(`a node (${id})`, "it is not there");
  if (bytes.length > NODE_BYTES_MAX) throw corrupt(`a node (${id})`, `it has ${bytes.length} bytes`);
  if (nodeIdOf(bytes) !== id) throw corrupt(`a node (${id})`, "its bytes do not hash to its name");
  return bytes;
}

/** A reader of nodes that are all in memory. */
export function nodesInMemory(nodes: FreshNodes): NodeReader {
  return {
    read: (ids) =>
      ids.map((id) => {
        const bytes = nodes.get(id);
        if (bytes === undefined) throw corrupt(`a node (${id})`, "it is not there");
        return bytes;
      }),
  };
}
