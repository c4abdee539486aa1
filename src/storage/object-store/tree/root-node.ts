/**
 * ROOT: the one node that names the whole state of a repository at one generation.
 *
 *     OFFSET  SIZE    MEANING
 *     0       4       `gwr1`
 *     4       6       generation, big-endian; 0 is the first
 *     10      6       when it was made, milliseconds since 1970, big-endian; for people, it decides nothing
 *     16      1       object format: 1 SHA-1, 2 SHA-256
 *     17      1       which ids follow: 1 previous ROOT, 2 packs, 4 refs, 8 chunks, 16 shallow; one that is not there
 *                     stands for an empty tree (or for no generation before)
 *     18      n·32    those ids, in this order
 *     …       text    HEAD, as git writes it into a file: `ref: refs/heads/main`, or an object id
 *     …       varint  how many attributes
 *     …       attributes by ascending name: text, the name; text, the value
 *
 * Example: `67 77 72 31 | 00 00 00 00 00 00 | 01 8b cf e5 68 00 | 01 | 00 | 14 72 65 66 3a 20 … 6e | 00` is the first ROOT of a repository
 * without anything: SHA-1, made at 1,700,000,000,000, HEAD `ref: refs/heads/main`, no attributes.
 */
import { invariant } from "../../../base/errors.js";
import type { ObjectFormat } from "../../../object/object-format.js";
import { isObjectId } from "../../../object/object-id.js";
import { checkRefName } from "../../../object/ref-name.js";
import type { RefValue } from "../../refs/ref-state.js";
import { CanonicalReader, CanonicalWriter } from "./canonical-bytes.js";
import { NODE_ID_BYTES, type NodeId } from "./node.js";

export interface RootNode {
  readonly generation: number;
  readonly timeMs: number;
  readonly objectFormat: ObjectFormat;
  /** undefined: this is the first. */
  readonly previousRoot?: NodeId | undefined;
  /** Sequence number (8 bytes) → pack leaf. undefined: there is none, as with the others. */
  readonly packsRoot?: NodeId | undefined;
  /** Ref name → ref value. */
  readonly refsRoot?: NodeId | undefined;
  /** Object id of a large blob → recipe. */
  readonly chunksRoot?: NodeId | undefined;
  /** Object id of a commit whose parents are missing → nothing. */
  readonly shallowRoot?: NodeId | undefined;
  /** `direct` or `symbolic`. */
  readonly head: RefValue;
  /** Names are `[a-z][a-z0-9.-]*`. */
  readonly attributes: ReadonlyMap<string, string>;
}

const TYPE = "gwr1";
const IDS = ["previousRoot", "packsRoot", "refsRoot", "chunksRoot", "shallowRoot"] as const;
const FORMATS: readonly ObjectFormat[] = ["sha1", "sha256"];
const NAME = /^[a-z][a-z0-9.-]{0,63}$/;
const SYMBOLIC = "ref: ";
const ATTRIBUTES_MAX = 256;
const VALUE_BYTES_MAX = 512;
/** Of a name in UTF-8: `checkRefName` takes 4,096 characters. */
const HEAD_BYTES_MAX = 16 * 1024;

export function formatRootNode(root: RootNode): Buffer {
  const writer = new CanonicalWriter();
  writer.type(TYPE);
  writer.u48(root.generation);
  writer.u48(root.timeMs);
  writer.u8(FORMATS.indexOf(root.objectFormat) + 1);
  writer.u8(IDS.reduce((flags, name, i) => (root[name] === undefined ? flags : flags | (1 << i)), 0));
  for (const name of IDS) writer.hex(root[name] ?? "");
  writer.text(formatHead(root.head));
  invariant(root.attributes.size <= ATTRIBUTES_MAX, "a ROOT has too many attributes");
  writer.varint(root.attributes.size);
  for (const [name, value] of [...root.attributes].sort(([a], [b]) => (a < b ? -1 : 1))) {
    invariant(NAME.test(name), `an attribute of a ROOT cannot be named '${name}'`);
    invariant(Buffer.byteLength(value) <= VALUE_BYTES_MAX, `the attribute '${name}' of a ROOT is too long`);
    writer.text(name);
    writer.text(value);
  }
  return writer.take();
}

/** @param bytes of a node that `checkNode` has seen. @throws storage/corrupt */
export function parseRootNode(bytes: Buffer): RootNode {
  const reader = new CanonicalReader(bytes, "a ROOT");
  reader.type(TYPE);
  const generation = reader.u48();
  const timeMs = reader.u48();
  const objectFormat = FORMATS[reader.u8() - 1];
  if (objectFormat === undefined) throw reader.bad("it is of an unknown object format");
  const flags = reader.u8();
  if (flags >= 1 << IDS.length) throw reader.bad("it has ids of an unknown kind");
  const ids: { [name in (typeof IDS)[number]]?: NodeId } = {};
  for (const [i, name] of IDS.entries()) if ((flags & (1 << i)) !== 0) ids[name] = reader.hex(NODE_ID_BYTES);
  const head = parseHead(reader, objectFormat);
  const attributes = new Map<string, string>();
  const count = reader.varint(ATTRIBUTES_MAX);
  let before = "";
  for (let i = 0; i < count; i++) {
    const name = reader.text(64);
    if (!NAME.test(name) || name <= before) throw reader.bad("its attributes are not in order");
    attributes.set(name, reader.text(VALUE_BYTES_MAX));
    before = name;
  }
  reader.end();
  return { generation, timeMs, objectFormat, ...ids, head, attributes };
}

function formatHead(head: RefValue): string {
  invariant(head.kind !== "broken", "a ROOT cannot keep a broken HEAD");
  if (head.kind === "direct") return head.ref.oid;
  invariant(checkRefName(head.target, { oneLevel: true }) === undefined, "HEAD cannot name what is no ref");
  return `${SYMBOLIC}${head.target}`;
}

function parseHead(reader: CanonicalReader, format: ObjectFormat): RefValue {
  const text = reader.text(HEAD_BYTES_MAX);
  if (text.startsWith(SYMBOLIC)) {
    const target = text.slice(SYMBOLIC.length);
    if (checkRefName(target, { oneLevel: true }) !== undefined) throw reader.bad("its HEAD names no ref");
    return { kind: "symbolic", target };
  }
  if (!isObjectId(text, format)) throw reader.bad("its HEAD says nothing");
  return { kind: "direct", ref: { name: "HEAD", oid: text } };
}
