/**
 * A node of a tree, leaf or inner node, as bytes: entries by ascending key (byte order), each key without what it shares
 * with the one before it. There is one way to write a node, and another is refused.
 *
 *     OFFSET  SIZE    MEANING
 *     0       4       `gwt1`
 *     4       1       level: 0 a leaf, n a node whose children are of level n − 1
 *     5       varint  how many entries, at least 1
 *     …       entries:
 *             varint  how many bytes of its key are those of the key before it, as many as there are; 0 for the first
 *             varint  how many bytes of its key follow
 *             …       those bytes
 *             varint  length of the value
 *             …       value; in an inner node 38 bytes: the child's id (32) and how many entries the leaves below it
 *                     hold together (6, big-endian). The entry's key is the last key of the child.
 *
 * Example: `67 77 74 31 00 02 | 00 03 61 2f 62 01 78 | 02 01 63 00` is a leaf with two entries: `a/b` → `x` and, sharing
 * `a/` with it, `a/c` → nothing.
 */
import { CanonicalReader, CanonicalWriter, corrupt } from "./canonical-bytes.js";
import { NODE_ID_BYTES, type NodeId } from "./node.js";
import { ENTRY_BYTES, KEY_BYTES_MAX, NODE_RAW_BYTES_MAX, VALUE_BYTES_MAX } from "./node-boundary.js";

export interface TreeNode {
  readonly level: number;
  /** Strictly ascending in byte order. */
  readonly keys: readonly Buffer[];
  readonly values: readonly Buffer[];
}

/** What an inner node knows of a child. */
export interface ChildReference {
  readonly id: NodeId;
  readonly level: number;
  readonly lastKey: Buffer;
  /** Of all leaves below it together. */
  readonly entryCount: number;
}

/** Every level has at most half the nodes of the one below it: no tree that can be made is higher. */
export const LEVEL_MAX = 48;

const CHILD_VALUE_BYTES = NODE_ID_BYTES + 6;
const TYPE = "gwt1";
const WHAT = "a node of a tree";

export function childAt(node: TreeNode, index: number): ChildReference {
  const value = node.values[index] as Buffer;
  return {
    id: value.toString("hex", 0, NODE_ID_BYTES),
    level: node.level - 1,
    lastKey: node.keys[index] as Buffer,
    entryCount: value.readUIntBE(NODE_ID_BYTES, 6),
  };
}

export function formatChild(child: ChildReference): Buffer {
  const value = Buffer.allocUnsafe(CHILD_VALUE_BYTES);
  value.write(child.id, 0, "hex");
  value.writeUIntBE(child.entryCount, NODE_ID_BYTES, 6);
  return value;
}

/** How many entries stand in the node and below it. */
export function entryCountOf(node: TreeNode): number {
  if (node.level === 0) return node.keys.length;
  let count = 0;
  for (const value of node.values) count += value.readUIntBE(NODE_ID_BYTES, 6);
  return count;
}

const writer = new CanonicalWriter(64 * 1024);

export function formatTreeNode(node: TreeNode): Buffer {
  const { keys, values } = node;
  writer.type(TYPE);
  writer.u8(node.level);
  writer.varint(keys.length);
  let before: Buffer | undefined;
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i] as Buffer;
    const value = values[i] as Buffer;
    const shared = before === undefined ? 0 : sharedPrefix(before, key);
    writer.varint(shared);
    writer.varint(key.length - shared);
    writer.bytes(key, shared);
    writer.varint(value.length);
    writer.bytes(value);
    before = key;
  }
  return writer.take();
}

/** @param bytes of a node that `checkNode` has seen. @throws storage/corrupt */
export function parseTreeNode(bytes: Buffer): TreeNode {
  const reader = new CanonicalReader(bytes, WHAT);
  reader.type(TYPE);
  const level = reader.u8();
  if (level > LEVEL_MAX) throw reader.bad(`its level is ${level}`);
  // Nothing is allocated by what a number claims: an entry takes three bytes at least.
  const count = reader.varint(Math.floor(reader.remaining / 3));
  if (count === 0) throw reader.bad("it is empty");
  const suffixes: Buffer[] = [];
  const sharedBytes: number[] = [];
  const values: Buffer[] = [];
  let rawBytes = 0;
  let keyBytes = 0;
  let keyLength = 0;
  for (let i = 0; i < count; i++) {
    const shared = reader.varint(keyLength);
    const suffix = reader.bytes(reader.varint(KEY_BYTES_MAX - shared));
    const value = reader.bytes(reader.varint(VALUE_BYTES_MAX));
    if (level > 0 && value.length !== CHILD_VALUE_BYTES)
      throw reader.bad("a child's value is of another length");
    keyLength = shared + suffix.length;
    keyBytes += keyLength;
    rawBytes += keyLength + value.length + ENTRY_BYTES;
    if (rawBytes > NODE_RAW_BYTES_MAX) throw reader.bad("its entries are too large");
    sharedBytes.push(shared);
    suffixes.push(suffix);
    values.push(value);
  }
  reader.end();
  return { level, keys: joinKeys(sharedBytes, suffixes, Buffer.allocUnsafe(keyBytes)), values };
}

/** @param arena takes the bytes of all keys */
function joinKeys(sharedBytes: readonly number[], suffixes: readonly Buffer[], arena: Buffer): Buffer[] {
  const keys: Buffer[] = [];
  let before: Buffer | undefined;
  let at = 0;
  let beforeAt = 0;
  for (let i = 0; i < suffixes.length; i++) {
    const shared = sharedBytes[i] as number;
    const suffix = suffixes[i] as Buffer;
    const start = at;
    if (before !== undefined) {
      if (shared > 0) arena.copyWithin(at, beforeAt, beforeAt + shared);
      // The first byte that differs decides the order; a key that ends there comes first.
      const next = suffix[0];
      if (next === undefined || (shared < before.length && next <= (before[shared] as number)))
        throw corrupt(WHAT, "its keys are not in order");
    } else if (shared > 0) throw corrupt(WHAT, "its first key shares bytes with none");
    at += shared;
    arena.set(suffix, at);
    at += suffix.length;
    before = arena.subarray(start, at);
    beforeAt = start;
    keys.push(before);
  }
  return keys;
}

function sharedPrefix(a: Buffer, b: Buffer): number {
  const max = Math.min(a.length, b.length);
  let length = 0;
  while (length < max && a[length] === b[length]) length++;
  return length;
}

/** Index of the first key that is `key` or comes behind it; as many as there are keys when none does. */
export function firstAtOrBehind(keys: readonly Buffer[], key: Buffer): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (Buffer.compare(keys[middle] as Buffer, key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Index of the first key that comes behind `key`. */
export function firstBehind(keys: readonly Buffer[], key: Buffer): number {
  const index = firstAtOrBehind(keys, key);
  return keys[index]?.equals(key) === true ? index + 1 : index;
}
