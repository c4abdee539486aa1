import { expect, it } from "vitest";
import { nodeIdOf, nodesInMemory, type NodeId } from "../tree/node.js";
import { buildTree, editTree, walkNodes } from "../tree/prolly-tree.js";
import { formatRootNode } from "../tree/root-node.js";
import { newNodes } from "./new-nodes.js";

const all = new Map<NodeId, Buffer>();
const reader = nodesInMemory(all);

/** Refs are entries like any others here: only names of nodes count. */
async function rootOver(refsRoot: NodeId | undefined, generation: number): Promise<NodeId> {
  const bytes = formatRootNode({
    generation,
    timeMs: 1,
    objectFormat: "sha1",
    refsRoot,
    head: { kind: "symbolic", target: "refs/heads/main" },
    attributes: new Map(),
  });
  all.set(nodeIdOf(bytes), bytes);
  return nodeIdOf(bytes);
}

function entry(i: number): { readonly key: Buffer; readonly value: Buffer } {
  return {
    key: Buffer.from(`refs/heads/${i.toString().padStart(6, "0")}`),
    value: Buffer.alloc(20, i % 251),
  };
}

async function nodesOf(tree: NodeId | undefined): Promise<ReadonlySet<NodeId>> {
  const ids = new Set<NodeId>();
  await walkNodes(reader, tree, { readsLeaves: true, visit: (id) => void ids.add(id) });
  return ids;
}

async function newOnes(before: NodeId | undefined, after: NodeId): Promise<ReadonlySet<NodeId>> {
  const ids = new Set<NodeId>();
  for await (const { id } of newNodes(reader, before, after)) ids.add(id);
  return ids;
}

it.each([
  ["nothing", 0, 12_000],
  ["a tree of one leaf", 3, 12_000],
  ["a higher tree", 12_000, 3],
  ["the same with a few changes", 12_000, 12_000],
  ["a tree that grows", 12_000, 12_500],
  ["a tree that goes", 5000, 0],
])("leaves out no node that is new to %s, and few that are not", async (_, beforeCount, afterCount) => {
  const { root: before, nodes } = buildTree(Array.from({ length: beforeCount }, (__, i) => entry(i)));
  for (const [id, bytes] of nodes) all.set(id, bytes);
  const edits = [];
  for (let i = beforeCount; i < afterCount; i++) edits.push(entry(i));
  for (let i = afterCount; i < beforeCount; i++) edits.push({ key: entry(i).key, value: undefined });
  for (const i of [1, 700, 2900])
    if (i < Math.min(beforeCount, afterCount)) edits.push({ ...entry(i), value: Buffer.from("new") });
  const edited = await editTree(
    reader,
    before,
    edits.toSorted((a, b) => Buffer.compare(a.key, b.key)),
  );
  for (const [id, bytes] of edited.nodes) all.set(id, bytes);
  const [old, made] = [await rootOver(before, 1), await rootOver(edited.root, 2)];
  const found = await newOnes(old, made);
  const known = await nodesOf(before);
  const needed = [...(await nodesOf(edited.root))].filter((id) => !known.has(id));
  expect([...found]).toEqual(expect.arrayContaining([...needed, made]));
  expect(found.size).toBeLessThanOrEqual(needed.length + 4);
  expect(new Set(await newOnes(undefined, made))).toEqual(new Set([made, ...(await nodesOf(edited.root))]));
});
