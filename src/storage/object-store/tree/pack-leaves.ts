/**
 * The tree of packs: what a repository's objects are kept in. Its keys are sequence numbers, 8 bytes big-endian, given in the
 * order in which packs came; a value is a pack leaf:
 *
 *     OFFSET  SIZE    MEANING
 *     0       1       kind: 1 the pack is one object of the bucket and what belongs to it another, 2 all of it is one
 *                     object: the pack first, what belongs to it behind it
 *     1       1       source: 1 push, 2 compact, 3 gc, 4 gc-rest, 5 import, 6 gc-unreachable
 *     2       1       level: 0 as it was pushed, 1 and up compacted
 *     3       1       flags: 1 it is the closure of the heads and tags of a tree of refs, 2 what the checks of its push have
 *                     shown is recorded, 4 it holds what no ref led to, 8 some of the pack's bytes
 *                     are kept as chunks (the tree of chunks says which): the object has the others
 *     4       32      SHA-256 of the object's bytes
 *     36      32      kind 1: SHA-256 of the bytes of the object beside it
 *     …       32      flag 1: the root of that tree of refs
 *     …       20|32   trailer: the hash at the pack's end
 *     …       varint  flag 4: when that was found, in milliseconds since 1970
 *     …       varint  how many objects are in the pack
 *     …       varint  bytes of the pack
 *     …       varint  flag 8: how many of them the object has
 *     …       text    key in the bucket
 *     …       text    kind 1: key of the object beside it
 *     …       varint  how many parts belong to the pack: at least its index
 *     …       parts in the order in which they stand in their object: which (1 index, 2 reverse index, 3 bitmap, 4
 *             commit-graph, 5 object sizes), each at most once; varint, its bytes. The first begins at 0 (kind 1) or
 *             behind what the object has of the pack (kind 2), and there is nothing between or behind them.
 *     …       flag 2: varint, how many roots; their ids; varint, how many grounds; their ids; varint, how many entries were
 *             sent; varint, how many of them are deltas; varint, where in the pack they end (see pack/recorded-push.ts)
 *
 * Example: `02 01 00 00 | <32 bytes> | <20 bytes> | 03 | a0 02 | 09 6c 2f 61 62 2f 31 2e 6c 30 | 01 01 d0 08` is a small push (kind 2): 3
 * objects in a pack of 288 bytes, `l/ab/1.l0`, with an index of 1,104 bytes behind the pack.
 */
import { invariant } from "../../../base/errors.js";
import { hashBytes, type ObjectFormat } from "../../../object/object-format.js";
import type { ObjectId } from "../../../object/object-id.js";
import { RECORDED_GROUNDS_MAX, RECORDED_ROOTS_MAX, type RecordedPush } from "../../../pack/recorded-push.js";
import { CanonicalReader, CanonicalWriter, corrupt } from "./canonical-bytes.js";
import { NODE_ID_BYTES, type NodeId } from "./node.js";

const KINDS = ["separate", "joined"] as const;
const SOURCES = ["push", "compact", "gc", "gc-rest", "import", "gc-unreachable"] as const;
const PARTS = ["index", "reverse-index", "bitmap", "commit-graph", "object-sizes"] as const;

/** `separate`: `key` is the pack as it is, `sideKey` what belongs to it. `joined`: `key` is both. */
export type PackKind = (typeof KINDS)[number];
/** Who made it. `gc` is BASE, `gc-rest` what gc found reachable beside it, `gc-unreachable` what it keeps for a while. */
export type PackSource = (typeof SOURCES)[number];
export type PackPartName = (typeof PARTS)[number];

/** Bytes [offset, offset + sizeBytes) of the object that holds the parts: `sideKey`, or `key` where there is none. */
export interface PackPart {
  readonly name: PackPartName;
  readonly offset: number;
  readonly sizeBytes: number;
}

export interface PackLeaf {
  /** Given when the pack came; it is the key in the tree. */
  readonly sequence: number;
  readonly kind: PackKind;
  readonly source: PackSource;
  readonly level: number;
  readonly key: string;
  /** Lower-case hexadecimal SHA-256 of all bytes of the object at `key`. */
  readonly sha256: string;
  readonly sideKey?: string | undefined;
  /** Of those at `sideKey`. */
  readonly sideSha256?: string | undefined;
  readonly objectCount: number;
  /** Of the pack alone. */
  readonly packBytes: number;
  /** Of these, those that are in the object; the others are chunks. undefined: all. */
  readonly ownBytes?: number | undefined;
  /** The pack's own hash of itself: its name. */
  readonly trailer: string;
  /** In the order of their offsets, without gaps. */
  readonly parts: readonly PackPart[];
  /** The pack holds everything that the heads and tags of this tree of refs lead to, and nothing else. */
  readonly closureOf?: NodeId | undefined;
  readonly recordedPush?: RecordedPush | undefined;
  /** No ref led to what is in the pack, as was found at this time. */
  readonly unreachableSinceMs?: number | undefined;
}

export const PACK_KEY_BYTES = 8;
/** Names of objects in a bucket are at most as long. */
const BUCKET_KEY_BYTES_MAX = 1024;
const OBJECTS_MAX = 2 ** 32 - 1;
const LEVEL_MAX = 63;
const CLOSURE = 1;
const RECORDED = 2;
const UNREACHABLE = 4;
const SPLICED = 8;

export function packKey(sequence: number): Buffer {
  const key = Buffer.alloc(PACK_KEY_BYTES);
  key.writeBigUInt64BE(BigInt(sequence));
  return key;
}

/** @throws storage/corrupt */
export function packSequenceOf(key: Buffer): number {
  if (key.length !== PACK_KEY_BYTES) throw corrupt("the number of a pack", `it has ${key.length} bytes`);
  const sequence = key.readBigUInt64BE();
  if (sequence > Number.MAX_SAFE_INTEGER) throw corrupt("the number of a pack", "it is too large");
  return Number(sequence);
}

export function formatPackLeaf(leaf: PackLeaf): Buffer {
  const writer = new CanonicalWriter(512);
  writer.u8(KINDS.indexOf(leaf.kind) + 1);
  writer.u8(SOURCES.indexOf(leaf.source) + 1);
  invariant(leaf.level <= LEVEL_MAX, "a pack's level is too high");
  writer.u8(leaf.level);
  const { recordedPush } = leaf;
  writer.u8(
    (leaf.closureOf === undefined ? 0 : CLOSURE) |
      (recordedPush === undefined ? 0 : RECORDED) |
      (leaf.unreachableSinceMs === undefined ? 0 : UNREACHABLE) |
      (leaf.ownBytes === undefined ? 0 : SPLICED),
  );
  writer.hex(leaf.sha256);
  const hasSide = leaf.kind === "separate";
  invariant(
    hasSide === (leaf.sideKey !== undefined) && hasSide === (leaf.sideSha256 !== undefined),
    "a pack leaf's kind does not go with its keys",
  );
  writer.hex(leaf.sideSha256 ?? "");
  writer.hex(leaf.closureOf ?? "");
  writer.hex(leaf.trailer);
  if (leaf.unreachableSinceMs !== undefined) writer.varint(leaf.unreachableSinceMs);
  writer.varint(leaf.objectCount);
  writer.varint(leaf.packBytes);
  if (leaf.ownBytes !== undefined) writer.varint(leaf.ownBytes);
  writer.text(leaf.key);
  if (leaf.sideKey !== undefined) writer.text(leaf.sideKey);
  writer.varint(leaf.parts.length);
  let offset = hasSide ? 0 : ownPackBytes(leaf);
  for (const part of leaf.parts) {
    invariant(part.offset === offset, "the parts beside a pack do not stand in order, or not without gaps");
    writer.u8(PARTS.indexOf(part.name) + 1);
    writer.varint(part.sizeBytes);
    offset += part.sizeBytes;
  }
  if (recordedPush !== undefined) writeRecord(writer, recordedPush);
  return writer.take();
}

function writeRecord(writer: CanonicalWriter, record: RecordedPush): void {
  for (const oids of [record.roots, record.grounds]) {
    writer.varint(oids.length);
    for (const oid of oids) writer.hex(oid);
  }
  writer.varint(record.sentCount);
  writer.varint(record.sentDeltas);
  writer.varint(record.sentEnd);
}

function readRecord(
  reader: CanonicalReader,
  about: { readonly objectCount: number; readonly packBytes: number; readonly format: ObjectFormat },
): RecordedPush {
  const oids = (max: number): ObjectId[] =>
    Array.from({ length: reader.varint(max) }, () => reader.hex(hashBytes(about.format)));
  const roots = oids(RECORDED_ROOTS_MAX);
  const grounds = oids(RECORDED_GROUNDS_MAX);
  const sentCount = reader.varint(about.objectCount);
  const sentDeltas = reader.varint(sentCount);
  return { roots, grounds, sentCount, sentDeltas, sentEnd: reader.varint(about.packBytes) };
}

/** @param sequence see `packSequenceOf`. @throws storage/corrupt */
export function parsePackLeaf(sequence: number, bytes: Buffer, format: ObjectFormat): PackLeaf {
  const reader = new CanonicalReader(bytes, `pack ${sequence}`);
  const choice = <T>(values: readonly T[]): T => {
    const value = values[reader.u8() - 1];
    if (value === undefined) throw reader.bad("it has a field of an unknown value");
    return value;
  };
  const kind = choice(KINDS);
  const source = choice(SOURCES);
  const level = reader.u8();
  if (level > LEVEL_MAX) throw reader.bad(`its level is ${level}`);
  const flags = reader.u8();
  if ((flags & ~(CLOSURE | RECORDED | UNREACHABLE | SPLICED)) !== 0) throw reader.bad("it has unknown flags");
  const sha256 = reader.hex(NODE_ID_BYTES);
  const hasSide = kind === "separate";
  const sideSha256 = hasSide ? reader.hex(NODE_ID_BYTES) : undefined;
  const closureOf = (flags & CLOSURE) !== 0 ? reader.hex(NODE_ID_BYTES) : undefined;
  const trailer = reader.hex(hashBytes(format));
  const unreachableSinceMs = (flags & UNREACHABLE) === 0 ? undefined : reader.varint(Number.MAX_SAFE_INTEGER);
  const objectCount = reader.varint(OBJECTS_MAX);
  const packBytes = reader.varint(Number.MAX_SAFE_INTEGER);
  const ownBytes = (flags & SPLICED) === 0 ? undefined : reader.varint(packBytes);
  const key = reader.text(BUCKET_KEY_BYTES_MAX);
  const sideKey = hasSide ? reader.text(BUCKET_KEY_BYTES_MAX) : undefined;
  const parts: PackPart[] = [];
  const count = reader.varint(PARTS.length);
  let offset = hasSide ? 0 : (ownBytes ?? packBytes);
  for (let i = 0; i < count; i++) {
    const name = choice(PARTS);
    if (parts.some((part) => part.name === name)) throw reader.bad(`it has two parts '${name}'`);
    const sizeBytes = reader.varint(Number.MAX_SAFE_INTEGER - offset);
    parts.push({ name, offset, sizeBytes });
    offset += sizeBytes;
  }
  if (!parts.some(({ name }) => name === "index")) throw reader.bad("it has no index");
  const recordedPush =
    (flags & RECORDED) === 0 ? undefined : readRecord(reader, { objectCount, packBytes, format });
  reader.end();
  return {
    sequence,
    kind,
    source,
    level,
    key,
    sha256,
    ...(sideKey === undefined ? {} : { sideKey, sideSha256 }),
    objectCount,
    packBytes,
    ...(ownBytes === undefined ? {} : { ownBytes }),
    trailer,
    parts,
    ...(closureOf === undefined ? {} : { closureOf }),
    ...(recordedPush === undefined ? {} : { recordedPush }),
    ...(unreachableSinceMs === undefined ? {} : { unreachableSinceMs }),
  };
}

/** Where a part of it is; undefined: it has none. */
export function packPart(
  leaf: PackLeaf,
  name: PackPartName,
): { readonly key: string; readonly start: number; readonly end: number } | undefined {
  const part = leaf.parts.find((one) => one.name === name);
  if (part === undefined) return undefined;
  return { key: leaf.sideKey ?? leaf.key, start: part.offset, end: part.offset + part.sizeBytes };
}

/** Bytes of the pack that are in the object at `key`, at its beginning. */
export function ownPackBytes({
  packBytes,
  ownBytes = packBytes,
}: Pick<PackLeaf, "packBytes" | "ownBytes">): number {
  return ownBytes;
}

/** Bytes of the object at `key`. */
export function packObjectBytes(leaf: PackLeaf): number {
  return leaf.kind === "separate" ? ownPackBytes(leaf) : endOfParts(leaf);
}

/** Bytes of the object at `sideKey`; undefined: there is none. */
export function sideObjectBytes(leaf: PackLeaf): number | undefined {
  return leaf.kind === "separate" ? endOfParts(leaf) : undefined;
}

function endOfParts(leaf: PackLeaf): number {
  const last = leaf.parts.at(-1);
  return last === undefined ? ownPackBytes(leaf) : last.offset + last.sizeBytes;
}
