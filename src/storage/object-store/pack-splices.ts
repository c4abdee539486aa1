/** Which bytes of packs are chunks: in the tree that a root names, and read from there. */
import { isPromise } from "../../base/maybe-promise.js";
import { othersTurn } from "../../base/others-turn.js";
import { formatRecipe, readRecipe, recipeHead } from "./chunks/recipe.js";
import { invariant } from "../../base/errors.js";
import type { OpenLeaf, OpenSplice, Splice, StoredPack } from "./stored-pack.js";
import type { NodeId, NodeReader } from "./tree/node.js";
import { type PackLeaf, packKey } from "./tree/pack-leaves.js";
import { scanTree, type TreeEdit } from "./tree/prolly-tree.js";
import { spliceKey, splicePlace } from "./tree/splice-keys.js";

/** Written down at once: some milliseconds. A collected pack may have a hundred thousand. */
const CHUNKS_A_TURN = 4096;

/** A leaf with the way to its splices, where it has any. */
export function withSplices(nodes: NodeReader, chunksRoot: NodeId | undefined, leaf: OpenLeaf): OpenLeaf {
  return leaf.ownBytes === undefined
    ? leaf
    : { ...leaf, splices: () => readSplices(nodes, chunksRoot, leaf.sequence) };
}

/** Of a pack that no root names yet. */
export function unnamedLeaf({ leaf, chunked }: StoredPack): OpenLeaf {
  if (leaf.ownBytes === undefined) return { ...leaf, sequence: 0 };
  const splices = (chunked?.splices ?? []).map(({ start, recipe }) => ({
    start,
    storedBytes: recipe.storedBytes,
    recipe: () => recipe,
  }));
  return { ...leaf, sequence: 0, splices: async () => splices };
}

/** By ascending start. @throws storage/io, storage/corrupt */
export async function readSplices(
  nodes: NodeReader,
  chunksRoot: NodeId | undefined,
  sequence: number,
): Promise<readonly OpenSplice[]> {
  const splices: OpenSplice[] = [];
  await scanTree(nodes, chunksRoot, { prefix: packKey(sequence) }, (key, value) => {
    const { storedBytes } = recipeHead(value);
    splices.push({ start: splicePlace(key).start, storedBytes, recipe: () => readRecipe(nodes, value) });
  });
  return splices;
}

/** Of packs that a root is to name. @returns the edits of the tree of chunks, and nodes that are needed beside its own */
export async function addSplices(
  added: Iterable<{ readonly sequence: number; readonly splices: readonly Splice[] }>,
): Promise<{ readonly edits: readonly TreeEdit[]; readonly nodes: ReadonlyMap<NodeId, Buffer> }> {
  const edits: TreeEdit[] = [];
  const nodes = new Map<NodeId, Buffer>();
  let chunks = 0;
  for (const { sequence, splices } of added)
    for (const { start, recipe } of splices) {
      chunks += recipe.chunks.length;
      if (chunks > CHUNKS_A_TURN) {
        await othersTurn();
        chunks = 0;
      }
      const formatted = formatRecipe(recipe);
      invariant(formatted !== undefined, "a recipe was kept that has too many chunks");
      edits.push({ key: spliceKey(sequence, start), value: formatted.value });
      for (const [id, bytes] of formatted.nodes) nodes.set(id, bytes);
    }
  return { edits, nodes };
}

/** Of packs that it names no more. */
export async function removeSplices(
  nodes: NodeReader,
  chunksRoot: NodeId | undefined,
  removed: readonly PackLeaf[],
): Promise<readonly TreeEdit[]> {
  const edits: TreeEdit[] = [];
  for (const { sequence, ownBytes } of removed) {
    if (ownBytes === undefined) continue;
    const scan = scanTree(nodes, chunksRoot, { prefix: packKey(sequence) }, (key) => {
      edits.push({ key, value: undefined });
    });
    if (isPromise(scan)) await scan;
  }
  return edits;
}
