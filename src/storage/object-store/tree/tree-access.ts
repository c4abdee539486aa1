/**
 * The nodes of one tree as one operation reads them: each once, checked against what its parent says of it, many in a
 * round trip.
 */
import type { MaybePromise } from "../../../base/maybe-promise.js";
import { type Steps, ready } from "../../../base/maybe-promise.js";
import { corrupt } from "./canonical-bytes.js";
import { checkNode, type NodeId, type NodeReader } from "./node.js";
import {
  type ChildReference,
  childAt,
  entryCountOf,
  firstAtOrBehind,
  firstBehind,
  parseTreeNode,
  type TreeNode,
} from "./tree-node.js";

/** Nodes of one round trip: bounds what is held at once, about 1 MiB on average. */
export const READ_NODES_MAX = 256;

/** Reads and checks the root. */
export function* readRoot(reader: NodeReader, id: NodeId): Steps<TreeNode> {
  const [bytes] = yield* ready(reader.read([id]));
  return parseTreeNode(checkNode(id, bytes));
}

/** In one round trip; not more than READ_NODES_MAX. @throws storage/corrupt, also where one is not what its parent says */
export function* readChildren(
  reader: NodeReader,
  children: readonly ChildReference[],
): Steps<readonly TreeNode[]> {
  if (children.length === 0) return [];
  const all = yield* ready(reader.read(children.map(({ id }) => id)) as MaybePromise<readonly Buffer[]>);
  return children.map((child, i) => {
    const node = parseTreeNode(checkNode(child.id, all[i]));
    const fits =
      node.level === child.level &&
      node.keys.at(-1)?.equals(child.lastKey) === true &&
      entryCountOf(node) === child.entryCount;
    if (!fits) throw corrupt(`a node of a tree (${child.id})`, "it is not what its parent says");
    return node;
  });
}

export interface PlacedNode {
  readonly id: NodeId;
  readonly node: TreeNode;
  /** No node of its level comes behind it. */
  readonly isLast: boolean;
}

/** Descends to keys of one tree and keeps what it has read. */
export class TreeAccess {
  readonly #reader: NodeReader;
  readonly #nodes = new Map<NodeId, TreeNode>();
  readonly #rootId: NodeId;
  readonly root: TreeNode;

  private constructor(reader: NodeReader, rootId: NodeId, root: TreeNode) {
    this.#reader = reader;
    this.#rootId = rootId;
    this.root = root;
  }

  static *open(reader: NodeReader, rootId: NodeId): Steps<TreeAccess> {
    return new TreeAccess(reader, rootId, yield* readRoot(reader, rootId));
  }

  /** Reads the paths to the leaves of these keys (ascending), a level in as few round trips as can be. */
  *prefetch(keys: readonly Buffer[]): Steps<void> {
    let nodes: { readonly node: TreeNode; readonly from: number; readonly to: number }[] = [
      { node: this.root, from: 0, to: keys.length },
    ];
    for (let { level } = this.root; level > 0; level--) {
      const wanted: { readonly child: ChildReference; readonly from: number; readonly to: number }[] = [];
      for (const { node, from, to } of nodes) {
        for (let k = from; k < to; ) {
          const index = Math.min(firstAtOrBehind(node.keys, keys[k] as Buffer), node.keys.length - 1);
          const child = childAt(node, index);
          const first = k++;
          if (index === node.keys.length - 1) k = to;
          else while (k < to && Buffer.compare(keys[k] as Buffer, child.lastKey) <= 0) k++;
          wanted.push({ child, from: first, to: k });
        }
      }
      yield* this.#load(wanted.map(({ child }) => child));
      nodes = wanted.map(({ child, from, to }) => ({
        node: this.#nodes.get(child.id) as TreeNode,
        from,
        to,
      }));
    }
  }

  /** The node of a level that has the key, or would have it. */
  *nodeFor(level: number, key: Buffer): Steps<PlacedNode> {
    return (yield* this.#descend(level, (keys) =>
      Math.min(firstAtOrBehind(keys, key), keys.length - 1),
    )) as PlacedNode;
  }

  /**
   * The node of a level that begins behind the key; undefined when there is none.
   * @param ahead how many to read at once, should it have to be read: it and those behind it
   */
  nodeBehind(level: number, key: Buffer, ahead: number): Steps<PlacedNode | undefined> {
    return this.#descend(level, (keys) => firstBehind(keys, key), ahead);
  }

  *read(child: ChildReference): Steps<TreeNode> {
    const kept = this.#nodes.get(child.id);
    if (kept !== undefined) return kept;
    yield* this.#load([child]);
    return this.#nodes.get(child.id) as TreeNode;
  }

  /** It will not be asked for again. */
  forget(id: NodeId): void {
    this.#nodes.delete(id);
  }

  *#descend(
    level: number,
    choose: (keys: readonly Buffer[]) => number,
    ahead = 1,
  ): Steps<PlacedNode | undefined> {
    let node = this.root;
    let id = this.#rootId;
    let isLast = true;
    while (node.level > level) {
      const index = choose(node.keys);
      if (index >= node.keys.length) return undefined;
      if (index < node.keys.length - 1) isLast = false;
      const child = childAt(node, index);
      id = child.id;
      if (!this.#nodes.has(id)) {
        const wanted = [child];
        if (child.level === level)
          for (let i = index + 1; i < node.keys.length && wanted.length < ahead; i++)
            wanted.push(childAt(node, i));
        yield* this.#load(wanted);
      }
      node = this.#nodes.get(id) as TreeNode;
    }
    return { id, node, isLast };
  }

  *#load(children: readonly ChildReference[]): Steps<void> {
    const missing = children.filter(({ id }) => !this.#nodes.has(id));
    for (let i = 0; i < missing.length; i += READ_NODES_MAX) {
      const part = missing.slice(i, i + READ_NODES_MAX);
      const nodes = yield* readChildren(this.#reader, part);
      part.forEach(({ id }, n) => this.#nodes.set(id, nodes[n] as TreeNode));
    }
  }
}
