/** Looking up keys in a tree, going through it in order, and comparing two. Equal subtrees are never read. */
import { type MaybePromise, runSteps, type Steps } from "../../../base/maybe-promise.js";
import type { NodeId, NodeReader } from "./node.js";
import { READ_NODES_MAX, readChildren, readRoot, TreeAccess } from "./tree-access.js";
import {
  type ChildReference,
  childAt,
  entryCountOf,
  firstAtOrBehind,
  firstBehind,
  type TreeNode,
} from "./tree-node.js";

/** One round trip a level. @returns the values in the order of the keys; undefined: there is no such key */
export function lookUpInTree(
  reader: NodeReader,
  root: NodeId | undefined,
  keys: readonly Buffer[],
): MaybePromise<readonly (Buffer | undefined)[]> {
  if (root === undefined || keys.length === 0) return keys.map(() => undefined);
  return runSteps(lookUp(reader, root, keys));
}

function* lookUp(
  reader: NodeReader,
  root: NodeId,
  keys: readonly Buffer[],
): Steps<readonly (Buffer | undefined)[]> {
  const tree = yield* TreeAccess.open(reader, root);
  yield* tree.prefetch([...keys].sort((a, b) => Buffer.compare(a, b)));
  const values: (Buffer | undefined)[] = [];
  for (const key of keys) {
    const { node } = yield* tree.nodeFor(0, key);
    const index = firstAtOrBehind(node.keys, key);
    values.push(node.keys[index]?.equals(key) === true ? node.values[index] : undefined);
  }
  return values;
}

/** How many entries a tree has. */
export function countTreeEntries(reader: NodeReader, root: NodeId | undefined): MaybePromise<number> {
  if (root === undefined) return 0;
  return runSteps(
    (function* (): Steps<number> {
      return entryCountOf(yield* readRoot(reader, root));
    })(),
  );
}

export interface TreeRange {
  /** The first key that is of interest. */
  readonly from?: Buffer;
  /** Only what comes behind this key. */
  readonly after?: Buffer;
  /** Only keys that begin so. */
  readonly prefix?: Buffer;
}

/** Nodes of the first round trip; each later one has twice as many, up to READ_NODES_MAX. */
const FIRST_NODES = 16;

/**
 * Entries by ascending key.
 * @param visit answers false when it has seen enough
 */
export function scanTree(
  reader: NodeReader,
  root: NodeId | undefined,
  range: TreeRange,
  visit: (key: Buffer, value: Buffer) => boolean | void,
): MaybePromise<void> {
  return root === undefined ? undefined : runSteps(scan(reader, root, range, visit));
}

function* scan(
  reader: NodeReader,
  root: NodeId,
  range: TreeRange,
  visit: (key: Buffer, value: Buffer) => boolean | void,
): Steps<void> {
  const end = range.prefix === undefined ? undefined : behindPrefix(range.prefix);
  const indexes = ({ keys }: TreeNode, isLeaf: boolean): readonly [number, number] => {
    let start = 0;
    if (range.prefix !== undefined) start = firstAtOrBehind(keys, range.prefix);
    if (range.from !== undefined) start = Math.max(start, firstAtOrBehind(keys, range.from));
    if (range.after !== undefined) start = Math.max(start, firstBehind(keys, range.after));
    // A child whose last key lies behind the end may begin before it.
    const stop = end === undefined ? keys.length : firstAtOrBehind(keys, end) + (isLeaf ? 0 : 1);
    return [start, Math.min(stop, keys.length)];
  };
  let window = FIRST_NODES;
  let pending: ChildReference[] = [];
  let nodes: readonly TreeNode[] = [yield* readRoot(reader, root)];
  for (;;) {
    const children: ChildReference[] = [];
    for (const node of nodes) {
      const [start, stop] = indexes(node, node.level === 0);
      for (let i = start; i < stop; i++) {
        if (node.level > 0) children.push(childAt(node, i));
        else if (visit(node.keys[i] as Buffer, node.values[i] as Buffer) === false) return;
      }
    }
    if (children.length > 0) pending = children.concat(pending);
    if (pending.length === 0) return;
    nodes = yield* readChildren(reader, pending.splice(0, sameLevel(pending, window)));
    window = Math.min(window * 2, READ_NODES_MAX);
  }
}

/** How many at the beginning are of one level, up to so many. */
function sameLevel(pending: readonly ChildReference[], max: number): number {
  const level = pending[0]?.level;
  let count = 1;
  while (count < max && pending[count]?.level === level) count++;
  return count;
}

/** The first key behind all that begin so; undefined: there is none. */
function behindPrefix(prefix: Buffer): Buffer | undefined {
  for (let length = prefix.length; length > 0; length--) {
    const byte = prefix[length - 1] as number;
    if (byte === 0xff) continue;
    const end = Buffer.from(prefix.subarray(0, length));
    end[length - 1] = byte + 1;
    return end;
  }
  return undefined;
}

export interface TreeChange {
  readonly key: Buffer;
  /** undefined: the key was not there. */
  readonly before: Buffer | undefined;
  /** undefined: the key is gone. */
  readonly after: Buffer | undefined;
}

/** What is different, by ascending key. Reads what is not the same in both, a level of both in one round trip. */
export function diffTrees(
  reader: NodeReader,
  before: NodeId | undefined,
  after: NodeId | undefined,
  visit: (change: TreeChange) => void,
): MaybePromise<void> {
  return before === after ? undefined : runSteps(diff(reader, before, after, visit));
}

function* diff(
  reader: NodeReader,
  before: NodeId | undefined,
  after: NodeId | undefined,
  visit: (change: TreeChange) => void,
): Steps<void> {
  const roots = new Map<NodeId, TreeNode>();
  const sides: [ChildReference[], ChildReference[]] = [[], []];
  for (const [side, id] of [before, after].entries()) {
    if (id === undefined) continue;
    const node = yield* readRoot(reader, id);
    roots.set(id, node);
    sides[side]?.push({
      id,
      level: node.level,
      lastKey: node.keys.at(-1) as Buffer,
      entryCount: entryCountOf(node),
    });
  }
  let level = Math.max(0, ...sides.map(([top]) => top?.level ?? 0));
  for (; level > 0; level--) {
    for (const side of [0, 1] as const) {
      const below: ChildReference[] = [];
      const above = sides[side];
      // The lower tree waits until the other one is down where it is.
      if (above[0] === undefined || above[0].level < level) continue;
      for (let i = 0; i < above.length; i += READ_NODES_MAX) {
        const part = above.slice(i, i + READ_NODES_MAX);
        const root = roots.get((part[0] as ChildReference).id);
        for (const node of root === undefined ? yield* readChildren(reader, part) : [root])
          for (let k = 0; k < node.keys.length; k++) below.push(childAt(node, k));
      }
      sides[side] = below;
    }
    const [a, b] = sides;
    const inA = new Set(a.map(({ id }) => id));
    const inBoth = new Set(b.filter(({ id }) => inA.has(id)).map(({ id }) => id));
    if (inBoth.size === 0) continue;
    sides[0] = a.filter(({ id }) => !inBoth.has(id));
    sides[1] = b.filter(({ id }) => !inBoth.has(id));
  }
  yield* diffLeaves(reader, sides, roots, visit);
}

/** Where the entries of leaves in order are read one by one. */
interface LeafCursor {
  readonly leaves: readonly ChildReference[];
  /** Leaves that were read already. */
  read: number;
  nodes: TreeNode[];
  /** In the first of `nodes`. */
  index: number;
}

function* diffLeaves(
  reader: NodeReader,
  sides: readonly [readonly ChildReference[], readonly ChildReference[]],
  roots: ReadonlyMap<NodeId, TreeNode>,
  visit: (change: TreeChange) => void,
): Steps<void> {
  const [a, b]: [LeafCursor, LeafCursor] = [cursorOf(sides[0]), cursorOf(sides[1])];
  for (;;) {
    if (isDrained(a) || isDrained(b)) {
      const wanted = [a, b].map((cursor) => {
        const more = READ_NODES_MAX / 2 - cursor.nodes.length;
        const part = cursor.leaves.slice(cursor.read, cursor.read + more);
        cursor.read += part.length;
        return { cursor, part };
      });
      const unread = wanted.flatMap(({ part }) => part).filter(({ id }) => !roots.has(id));
      const nodes = yield* readChildren(reader, unread);
      const byId = new Map(unread.map(({ id }, i) => [id, nodes[i] as TreeNode]));
      for (const { cursor, part } of wanted)
        for (const { id } of part) cursor.nodes.push((roots.get(id) ?? byId.get(id)) as TreeNode);
    }
    const keyA = a.nodes[0]?.keys[a.index];
    const keyB = b.nodes[0]?.keys[b.index];
    if (keyA === undefined && keyB === undefined) return;
    const order = keyA === undefined ? 1 : keyB === undefined ? -1 : Buffer.compare(keyA, keyB);
    const before = order <= 0 ? a.nodes[0]?.values[a.index] : undefined;
    const after = order >= 0 ? b.nodes[0]?.values[b.index] : undefined;
    if (before === undefined || after?.equals(before) !== true)
      visit({ key: (order <= 0 ? keyA : keyB) as Buffer, before, after });
    if (order <= 0) advance(a);
    if (order >= 0) advance(b);
  }
}

function cursorOf(leaves: readonly ChildReference[]): LeafCursor {
  return { leaves, read: 0, nodes: [], index: 0 };
}

function isDrained(cursor: LeafCursor): boolean {
  return cursor.nodes.length === 0 && cursor.read < cursor.leaves.length;
}

function advance(cursor: LeafCursor): void {
  cursor.index++;
  if (cursor.index < (cursor.nodes[0] as TreeNode).keys.length) return;
  cursor.index = 0;
  cursor.nodes.shift();
}

export interface NodeWalk {
  /** Answers true for a node that was seen before: it and what is below it are passed over. */
  readonly seen?: (id: NodeId) => boolean;
  /** false: leaves are named, not read. */
  readonly readsLeaves: boolean;
  /** @param node undefined for a leaf that is not read */
  readonly visit: (id: NodeId, level: number, node: TreeNode | undefined) => void;
}

/** Every node of a tree, each checked that is read: to verify it, to mark what is needed, to copy it. */
export function walkNodes(reader: NodeReader, root: NodeId | undefined, walk: NodeWalk): MaybePromise<void> {
  if (root === undefined || walk.seen?.(root) === true) return undefined;
  return runSteps(walkFrom(reader, root, walk));
}

function* walkFrom(reader: NodeReader, rootId: NodeId, walk: NodeWalk): Steps<void> {
  const root = yield* readRoot(reader, rootId);
  walk.visit(rootId, root.level, root);
  let pending = childrenToWalk(root, walk);
  while (pending.length > 0) {
    const part = pending.splice(0, sameLevel(pending, READ_NODES_MAX));
    if (part[0]?.level === 0 && !walk.readsLeaves) {
      for (const { id } of part) walk.visit(id, 0, undefined);
      continue;
    }
    const nodes = yield* readChildren(reader, part);
    const below: ChildReference[] = [];
    nodes.forEach((node, i) => {
      walk.visit((part[i] as ChildReference).id, node.level, node);
      for (const child of childrenToWalk(node, walk)) below.push(child);
    });
    if (below.length > 0) pending = below.concat(pending);
  }
}

function childrenToWalk(node: TreeNode, walk: NodeWalk): ChildReference[] {
  if (node.level === 0) return [];
  return node.keys.map((_, i) => childAt(node, i)).filter(({ id }) => walk.seen?.(id) !== true);
}
