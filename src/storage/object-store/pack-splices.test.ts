/** What a root says of chunks, written down and read again. */
import { createHash } from "node:crypto";
import { expect, it } from "vitest";
import type { Recipe } from "./chunks/recipe.js";
import { addSplices, readSplices } from "./pack-splices.js";
import { nodesInMemory } from "./tree/node.js";
import { editTree } from "./tree/prolly-tree.js";

function recipeOf(count: number, seed: number): Recipe {
  const chunks = Array.from({ length: count }, (_, i) => ({
    id: createHash("sha256").update(`${seed} ${i}`).digest("hex"),
    containerKey: `c/00/${seed}.chunks`,
    offset: i * 100,
    storedBytes: 100,
    sizeBytes: 200,
    adler32: i,
  }));
  return { sizeBytes: count * 200, storedBytes: count * 100, chunks };
}

it("lets others have their turn while the recipes of many blobs are written down", async () => {
  const splices = Array.from({ length: 20 }, (_, i) => ({ start: i * 1_000_000, recipe: recipeOf(1000, i) }));
  let turns = 0;
  let isDone = false;
  const take = (): void => {
    turns++;
    if (!isDone) setImmediate(take);
  };
  setImmediate(take);
  const { edits, nodes } = await addSplices([{ sequence: 7, splices }]);
  isDone = true;
  expect(turns).toBeGreaterThanOrEqual(3);
  const tree = await editTree(nodesInMemory(new Map()), undefined, edits);
  const reader = nodesInMemory(new Map([...nodes, ...tree.nodes]));
  const read = await readSplices(reader, tree.root, 7);
  expect(read.map(({ start }) => start)).toEqual(splices.map(({ start }) => start));
  expect(await read[19]?.recipe()).toEqual(splices[19]?.recipe);
  expect(await readSplices(reader, tree.root, 8)).toEqual([]);
});
