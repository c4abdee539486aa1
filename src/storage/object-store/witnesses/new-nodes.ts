/**
 * The nodes that one root leads to and another does not, or all: read level by level, where the trees are not the same. May yield a
 * node that the other has at another place; leaves none out.
 */
import { isPromise } from "../../../base/maybe-promise.js";
import { recipeHead } from "../chunks/recipe.js";
import { checkNode, type NodeId, type NodeReader } from "../tree/node.js";
import { parseRootNode, type RootNode } from "../tree/root-node.js";
import { childAt, parseTreeNode, type TreeNode } from "../tree/tree-node.js";

export interface NewNode {
  readonly id: NodeId;
  readonly bytes: Buffer;
}

const TREES = ["refs", "packs", "chunks", "shallow"] as const;
const NODES_AT_ONCE = 256;

/** @throws storage/io, storage/corrupt */
export async function* newNodes(
  reader: NodeReader,
  before: NodeId | undefined,
  after: NodeId,
): AsyncGenerator<NewNode> {
  if (before === after) return;
  const [old] = before === undefined ? [] : await readNodes(reader, [before]);
  const [made] = await readNodes(reader, [after]);
  if (made === undefined) return;
  yield made;
  const oldRoot: RootNode | undefined = old === undefined ? undefined : parseRootNode(old.bytes);
  const newRoot = parseRootNode(made.bytes);
  for (const tree of TREES) {
    const [from, to] = [oldRoot?.[`${tree}Root`], newRoot[`${tree}Root`]];
    yield* changedNodes(reader, from, to, tree === "chunks");
  }
}

async function* changedNodes(
  reader: NodeReader,
  before: NodeId | undefined,
  after: NodeId | undefined,
  hasRecipes: boolean,
): AsyncGenerator<NewNode> {
  if (after === undefined || before === after) return;
  let old = await levelOf(reader, before);
  let made = await levelOf(reader, after);
  const pieces = new Set<NodeId>();
  for (;;) {
    while (old.level > made.level) old = await below(reader, old, made);
    const known = old.level === made.level ? new Set(old.ids) : undefined;
    const ids = known === undefined ? made.ids : made.ids.filter((id) => !known.has(id));
    const children: NodeId[] = [];
    for (let at = 0; at < ids.length; at += NODES_AT_ONCE)
      for (const node of await readNodes(reader, ids.slice(at, at + NODES_AT_ONCE))) {
        yield node;
        const tree = parseTreeNode(node.bytes);
        if (tree.level > 0) children.push(...childrenOf(tree));
        else if (hasRecipes) for (const id of piecesOf(tree)) pieces.add(id);
      }
    if (made.level === 0) break;
    if (known !== undefined) old = await below(reader, old, made);
    made = { level: made.level - 1, ids: children };
  }
  // Those that the old leaves name, too, were told then.
  if (pieces.size > 0 && old.level === 0)
    for (let at = 0; at < old.ids.length; at += NODES_AT_ONCE)
      for (const { bytes } of await readNodes(reader, old.ids.slice(at, at + NODES_AT_ONCE)))
        for (const id of piecesOf(parseTreeNode(bytes))) pieces.delete(id);
  const left = [...pieces];
  for (let at = 0; at < left.length; at += NODES_AT_ONCE)
    yield* await readNodes(reader, left.slice(at, at + NODES_AT_ONCE));
}

/** Some nodes of one level, those that may differ; below the lowest: none. */
interface Level {
  readonly level: number;
  readonly ids: readonly NodeId[];
}

async function levelOf(reader: NodeReader, id: NodeId | undefined): Promise<Level> {
  const [node] = id === undefined ? [] : await readNodes(reader, [id]);
  return node === undefined
    ? { level: -1, ids: [] }
    : { level: parseTreeNode(node.bytes).level, ids: [node.id] };
}

/** @param other of the other tree: what both have is the same below, too */
async function below(reader: NodeReader, { level, ids }: Level, other: Level): Promise<Level> {
  if (level <= 0) return { level, ids };
  const same = new Set(other.level === level ? other.ids : []);
  const differing = ids.filter((id) => !same.has(id));
  const children: NodeId[] = [];
  for (let at = 0; at < differing.length; at += NODES_AT_ONCE)
    for (const { bytes } of await readNodes(reader, differing.slice(at, at + NODES_AT_ONCE)))
      children.push(...childrenOf(parseTreeNode(bytes)));
  return { level: level - 1, ids: children };
}

function childrenOf(node: TreeNode): readonly NodeId[] {
  return node.keys.map((_, i) => childAt(node, i).id);
}

function piecesOf(leaf: TreeNode): readonly NodeId[] {
  return leaf.values.flatMap((value) => recipeHead(value).pieces);
}

async function readNodes(reader: NodeReader, ids: readonly NodeId[]): Promise<readonly NewNode[]> {
  const read = reader.read(ids);
  const all = isPromise(read) ? await read : read;
  return ids.map((id, i) => ({ id, bytes: checkNode(id, all[i]) }));
}
