/**
 * Makes the nodes of one level out of its entries in order.
 */
import { invariant } from "../../../base/errors.js";
import { nodeIdOf } from "./node.js";
import { KEY_BYTES_MAX, NodeBoundary, VALUE_BYTES_MAX } from "./node-boundary.js";
import { type ChildReference, entryCountOf, formatTreeNode, type TreeNode } from "./tree-node.js";

export interface BuiltNode extends ChildReference {
  readonly bytes: Buffer;
  readonly node: TreeNode;
}

export class LevelBuilder {
  readonly #level: number;
  readonly #onNode: (built: BuiltNode) => void;
  readonly #boundary: NodeBoundary;
  #keys: Buffer[] = [];
  #values: Buffer[] = [];

  constructor(level: number, onNode: (built: BuiltNode) => void) {
    this.#level = level;
    this.#onNode = onNode;
    this.#boundary = new NodeBoundary(level);
  }

  /** Whether a node has just ended, or none has begun. */
  get isAtEnd(): boolean {
    return this.#keys.length === 0;
  }

  add(key: Buffer, value: Buffer): void {
    invariant(key.length <= KEY_BYTES_MAX, `a key has ${key.length} bytes, at most ${KEY_BYTES_MAX} fit`);
    invariant(
      value.length <= VALUE_BYTES_MAX,
      `a value has ${value.length} bytes, at most ${VALUE_BYTES_MAX} fit`,
    );
    this.#keys.push(key);
    this.#values.push(value);
    if (this.#boundary.add(key, value.length)) this.#end();
  }

  /** The level ends here. */
  finish(): void {
    if (!this.isAtEnd) this.#end();
  }

  #end(): void {
    const node: TreeNode = { level: this.#level, keys: this.#keys, values: this.#values };
    const bytes = formatTreeNode(node);
    this.#keys = [];
    this.#values = [];
    this.#onNode({
      id: nodeIdOf(bytes),
      level: node.level,
      // Of its own: it is kept for longer than the node.
      lastKey: Buffer.from(node.keys.at(-1) as Buffer),
      entryCount: entryCountOf(node),
      bytes,
      node,
    });
  }
}
