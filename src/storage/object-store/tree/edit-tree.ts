/**
 * Changing a tree: another root, and the nodes that are new. What becomes of it is the tree that building from the whole
 * map would make (node-boundary.ts says why); the nodes that no edit touches are neither read nor written.
 */
import { invariant } from "../../../base/errors.js";
import { type MaybePromise, runSteps, type Steps } from "../../../base/maybe-promise.js";
import { buildTree, type NewTree } from "./build-tree.js";
import { type BuiltNode, LevelBuilder } from "./level-builder.js";
import type { NodeId, NodeReader } from "./node.js";
import { type PlacedNode, READ_NODES_MAX, TreeAccess } from "./tree-access.js";
import { childAt, formatChild, type TreeNode } from "./tree-node.js";

/** `value` undefined: the key goes, if it is there. */
export interface TreeEdit {
  readonly key: Buffer;
  readonly value: Buffer | undefined;
}

/** Paths of so many edits are read together. */
const PREFETCHED_EDITS = 4096;

/**
 * @param root undefined: an empty tree
 * @param edits in any order, one a key
 * @returns only nodes that the tree did not have
 */
export function editTree(
  reader: NodeReader,
  root: NodeId | undefined,
  edits: Iterable<TreeEdit>,
): MaybePromise<NewTree> {
  const sorted = [...edits].sort((a, b) => Buffer.compare(a.key, b.key));
  for (let i = 1; i < sorted.length; i++)
    invariant(!sorted[i]?.key.equals(sorted[i - 1]?.key as Buffer), "a key is edited twice at once");
  if (root === undefined) return buildTree(sorted.filter(hasValue));
  if (sorted.length === 0) return { root, nodes: new Map() };
  return runSteps(edit(reader, root, sorted));
}

function hasValue(edit: TreeEdit): edit is { key: Buffer; value: Buffer } {
  return edit.value !== undefined;
}

function* edit(reader: NodeReader, root: NodeId, edits: readonly TreeEdit[]): Steps<NewTree> {
  const tree = yield* TreeAccess.open(reader, root);
  const nodes = new Map<NodeId, Buffer>();
  const fresh = new Map<NodeId, TreeNode>();
  let pending = edits;
  let top: readonly BuiltNode[] = [];
  for (let level = 0; level <= tree.root.level; level++) {
    const changed: TreeEdit[] = [];
    yield* editLevel(tree, level, pending, (before, after) => {
      top = after;
      for (const replacement of replacements(before, after)) changed.push(replacement);
      const old = new Set(before.map(({ id }) => id));
      for (const { id, bytes, node } of after) {
        if (old.has(id)) continue;
        nodes.set(id, bytes);
        if (level > 0) fresh.set(id, node);
      }
    });
    if (changed.length === 0) return { root, nodes: new Map() };
    pending = changed;
  }
  // What is left is the level of the old root, whole.
  if (top.length === 0) return { root: undefined, nodes };
  if (top.length > 1) return growTop(top, nodes);
  return { root: yield* lowerTop(tree, top[0] as BuiltNode, fresh, nodes), nodes };
}

/** Old nodes that stand side by side, and those in their place: new ones, or the same. */
type OnRun = (before: readonly PlacedNode[], after: readonly BuiltNode[]) => void;

/** Runs are told of in order. */
function* editLevel(tree: TreeAccess, level: number, edits: readonly TreeEdit[], onRun: OnRun): Steps<void> {
  let prefetched = 0;
  let next = 0;
  while (next < edits.length) {
    if (level === 0 && next >= prefetched) {
      prefetched = Math.min(next + PREFETCHED_EDITS, edits.length);
      yield* tree.prefetch(edits.slice(next, prefetched).map(({ key }) => key));
    }
    const before: PlacedNode[] = [];
    const after: BuiltNode[] = [];
    const builder = new LevelBuilder(level, (built) => after.push(built));
    let at: PlacedNode | undefined = yield* tree.nodeFor(level, (edits[next] as TreeEdit).key);
    while (at !== undefined) {
      before.push(at);
      next = mergeInto(builder, at, edits, next);
      if (level === 0) tree.forget(at.id);
      if (builder.isAtEnd || at.isLast) break;
      // Nearly always one is enough; a long run is read in few round trips all the same.
      const ahead = Math.min(before.length, READ_NODES_MAX);
      at = yield* tree.nodeBehind(level, at.node.keys.at(-1) as Buffer, ahead);
    }
    builder.finish();
    onRun(before, after);
  }
}

/** The node's entries with those edits that fall into it. @returns the first edit that does not */
function mergeInto(builder: LevelBuilder, at: PlacedNode, edits: readonly TreeEdit[], first: number): number {
  const { keys, values } = at.node;
  let next = first;
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i] as Buffer;
    let order = -1;
    for (; next < edits.length; next++) {
      const edit = edits[next] as TreeEdit;
      order = Buffer.compare(key, edit.key);
      if (order < 0) break;
      if (edit.value !== undefined) builder.add(edit.key, edit.value);
      if (order > 0) continue;
      next++;
      break;
    }
    if (order !== 0) builder.add(key, values[i] as Buffer);
  }
  if (at.isLast)
    for (; next < edits.length; next++) {
      const { key, value } = edits[next] as TreeEdit;
      if (value !== undefined) builder.add(key, value);
    }
  return next;
}

/** The run as edits of the level above. */
function replacements(before: readonly PlacedNode[], after: readonly BuiltNode[]): readonly TreeEdit[] {
  const edits: TreeEdit[] = [];
  let a = 0;
  for (const old of before) {
    const oldKey = old.node.keys.at(-1) as Buffer;
    let replaced = false;
    for (; a < after.length && !replaced; a++) {
      const built = after[a] as BuiltNode;
      const order = Buffer.compare(built.lastKey, oldKey);
      if (order > 0) break;
      if (order === 0) replaced = true;
      if (built.id !== old.id) edits.push({ key: built.lastKey, value: formatChild(built) });
    }
    if (!replaced) edits.push({ key: oldKey, value: undefined });
  }
  for (const built of after.slice(a)) edits.push({ key: built.lastKey, value: formatChild(built) });
  return edits;
}

/** More than one node where the root was: the levels above. */
function growTop(top: readonly BuiltNode[], nodes: Map<NodeId, Buffer>): NewTree {
  let level = top;
  while (level.length > 1) {
    const above: BuiltNode[] = [];
    const builder = new LevelBuilder((level[0] as BuiltNode).level + 1, (built) => above.push(built));
    for (const child of level) builder.add(child.lastKey, formatChild(child));
    builder.finish();
    for (const { id, bytes } of above) nodes.set(id, bytes);
    level = above;
  }
  return { root: (level[0] as BuiltNode).id, nodes };
}

/** The root is the lowest node that stands alone on its level. */
function* lowerTop(
  tree: TreeAccess,
  top: BuiltNode,
  fresh: ReadonlyMap<NodeId, TreeNode>,
  nodes: Map<NodeId, Buffer>,
): Steps<NodeId> {
  let { id, node }: { readonly id: NodeId; readonly node: TreeNode } = top;
  while (node.level > 0 && node.keys.length === 1) {
    nodes.delete(id);
    const child = childAt(node, 0);
    id = child.id;
    if (child.level === 0) break;
    node = fresh.get(id) ?? (yield* tree.read(child));
  }
  return id;
}
