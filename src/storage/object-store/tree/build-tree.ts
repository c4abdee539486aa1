/** A tree made from its whole map. */
import { invariant } from "../../../base/errors.js";
import { type BuiltNode, LevelBuilder } from "./level-builder.js";
import type { FreshNodes, NodeId } from "./node.js";
import { formatChild } from "./tree-node.js";

export interface TreeEntry {
  readonly key: Buffer;
  readonly value: Buffer;
}

export interface NewTree {
  /** undefined: the tree is empty. */
  readonly root: NodeId | undefined;
  /** To be kept before the root is named anywhere. */
  readonly nodes: FreshNodes;
}

/** @param entries strictly ascending by key, in byte order */
export function buildTree(entries: Iterable<TreeEntry>): NewTree {
  const nodes = new Map<NodeId, Buffer>();
  const builders: LevelBuilder[] = [];
  /** Of each level: how many, and the first. A level of one node has no other above. */
  const counts: number[] = [];
  const firsts: BuiltNode[] = [];
  const add = (level: number, key: Buffer, value: Buffer): void => {
    builders[level] ??= new LevelBuilder(level, (built) => keep(built));
    builders[level].add(key, value);
  };
  const keep = (built: BuiltNode): void => {
    const { level } = built;
    const count = (counts[level] = (counts[level] ?? 0) + 1);
    nodes.set(built.id, built.bytes);
    if (count === 1) {
      firsts[level] = built;
      return;
    }
    if (count === 2)
      add(level + 1, (firsts[level] as BuiltNode).lastKey, formatChild(firsts[level] as BuiltNode));
    add(level + 1, built.lastKey, formatChild(built));
  };
  let before: Buffer | undefined;
  for (const { key, value } of entries) {
    invariant(
      before === undefined || Buffer.compare(before, key) < 0,
      "the entries of a tree are not in order",
    );
    before = key;
    add(0, key, value);
  }
  for (let level = 0; level < builders.length; level++) builders[level]?.finish();
  return { root: firsts.at(-1)?.id, nodes };
}
