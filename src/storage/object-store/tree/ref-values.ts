/**
 * The tree of refs: its keys are full names in UTF-8 (`refs/heads/main`), so that their order is git's; HEAD is not
 * among them but stands in ROOT. A value says what the ref says:
 *
 *     OFFSET  SIZE    MEANING
 *     0       1       0 an id, and nobody has looked whether it is that of a tag object
 *                     1 an id that is not that of a tag object
 *                     2 an id of a tag object, and what the tag leads to in the end
 *                     3 a symbolic ref
 *     1       20|32   0, 1, 2: the id
 *     …       20|32   2: the id at the end of the chain of tags
 *     1       …       3: the full name of the ref that it names, in UTF-8
 *
 * Example: `01 4b 82 5d c6 … ee 49 04` is a ref that names 4b825dc6…ee4904, no tag.
 *
 * The same refs make the same tree only as long as those who write them agree on what they know of tags: a push looks at
 * every object that it makes a ref name and writes 1 or 2.
 */
import { isUtf8 } from "node:buffer";
import { invariant } from "../../../base/errors.js";
import { type MaybePromise, isPromise } from "../../../base/maybe-promise.js";
import { hashBytes, type ObjectFormat } from "../../../object/object-format.js";
import { checkRefName } from "../../../object/ref-name.js";
import type { Ref } from "../../contracts/ref-store.js";
import { compareRefNames } from "../../refs/ref-order.js";
import { changeRefState, type RefState, type RefValue } from "../../refs/ref-state.js";
import { CanonicalReader, CanonicalWriter, corrupt } from "./canonical-bytes.js";
import type { NodeId, NodeReader } from "./node.js";
import { diffTrees, scanTree, type TreeEdit, type TreeEntry } from "./prolly-tree.js";

const UNPEELED = 0;
const NO_TAG = 1;
const PEELED = 2;
const SYMBOLIC = 3;
/** Of a name in UTF-8: `checkRefName` takes 4,096 characters. */
const NAME_BYTES_MAX = 3 * 4096;

export function refKey(name: string): Buffer {
  const key = Buffer.from(name, "utf8");
  invariant(key.length <= NAME_BYTES_MAX, "a ref's name is too long to be kept");
  return key;
}

/** @throws storage/corrupt */
export function refNameOf(key: Buffer): string {
  if (!isUtf8(key)) throw corrupt("the name of a ref", "it is not UTF-8");
  return key.toString("utf8");
}

/** @param value not a broken one */
export function formatRefValue(value: RefValue): Buffer {
  const writer = new CanonicalWriter(80);
  invariant(value.kind !== "broken", "a broken ref cannot be kept");
  if (value.kind === "symbolic") {
    const why = checkRefName(value.target, { oneLevel: true });
    invariant(why === undefined, "a symbolic ref cannot name what is no ref");
    writer.u8(SYMBOLIC);
    writer.bytes(refKey(value.target));
    return writer.take();
  }
  const { oid, peeled, peelKnown } = value.ref;
  const isFinal = peelKnown === true || peeled !== undefined;
  writer.u8(peeled !== undefined ? PEELED : isFinal ? NO_TAG : UNPEELED);
  writer.hex(oid);
  if (peeled !== undefined) writer.hex(peeled);
  return writer.take();
}

/** @throws storage/corrupt */
export function parseRefValue(name: string, bytes: Buffer, format: ObjectFormat): RefValue {
  const reader = new CanonicalReader(bytes, `the ref '${name}'`);
  const kind = reader.u8();
  const idBytes = hashBytes(format);
  switch (kind) {
    case SYMBOLIC: {
      if (reader.remaining > NAME_BYTES_MAX) throw reader.bad("it names something too long");
      const target = reader.utf8(reader.remaining);
      if (checkRefName(target, { oneLevel: true }) !== undefined) throw reader.bad("it names no ref");
      return { kind: "symbolic", target };
    }
    case UNPEELED: {
      const oid = reader.hex(idBytes);
      reader.end();
      return { kind: "direct", ref: { name, oid } };
    }
    case NO_TAG: {
      const oid = reader.hex(idBytes);
      reader.end();
      return { kind: "direct", ref: { name, oid, peelKnown: true } };
    }
    case PEELED: {
      const oid = reader.hex(idBytes);
      const peeled = reader.hex(idBytes);
      reader.end();
      return { kind: "direct", ref: { name, oid, peeled, peelKnown: true } };
    }
    default:
      throw reader.bad(`it is of kind ${kind}`);
  }
}

/** All refs but HEAD, in the order of a tree: for `buildTree`. */
export function refEntries(state: RefState): TreeEntry[] {
  invariant(state.broken.size === 0, "broken refs cannot be kept");
  const values: (readonly [string, RefValue])[] = state.direct.map((ref) => [
    ref.name,
    { kind: "direct", ref },
  ]);
  for (const [name, target] of state.symbolic) values.push([name, { kind: "symbolic", target }]);
  if (state.symbolic.size > 0) values.sort(([a], [b]) => compareRefNames(a, b));
  return values.map(([name, value]) => ({ key: refKey(name), value: formatRefValue(value) }));
}

/** Changes as `changeRefState` takes them, for `editTree`; HEAD, which is not in the tree, is left out. */
export function refEdits(changes: ReadonlyMap<string, RefValue | undefined>): TreeEdit[] {
  return [...changes]
    .filter(([name]) => name !== "HEAD")
    .map(([name, value]) => ({
      key: refKey(name),
      value: value === undefined ? undefined : formatRefValue(value),
    }));
}

/** Where refs are read from: two fields of a ROOT, and what was read before. */
export interface RefsToRead {
  readonly refsRoot?: NodeId | undefined;
  readonly head: RefValue;
  readonly objectFormat: ObjectFormat;
}

/** All refs of a ROOT. @throws storage/corrupt, storage/io */
export function readRefState(reader: NodeReader, root: RefsToRead): MaybePromise<RefState> {
  const direct: Ref[] = [];
  const symbolic = new Map<string, string>();
  const scanned = scanTree(reader, root.refsRoot, {}, (key, bytes) => {
    const name = refNameOf(key);
    const value = parseRefValue(name, bytes, root.objectFormat);
    if (value.kind === "direct") direct.push(value.ref);
    else if (value.kind === "symbolic") symbolic.set(name, value.target);
  });
  const state: RefState = { head: root.head, direct, symbolic, broken: new Set() };
  return isPromise(scanned) ? scanned.then(() => state) : state;
}

/** The refs of a ROOT from those of another: only what is different is read. */
export function readChangedRefState(
  reader: NodeReader,
  known: { readonly refsRoot?: NodeId | undefined; readonly state: RefState },
  root: RefsToRead,
): MaybePromise<RefState> {
  const changes = new Map<string, RefValue | undefined>([["HEAD", root.head]]);
  const compared = diffTrees(reader, known.refsRoot, root.refsRoot, ({ key, after }) => {
    const name = refNameOf(key);
    changes.set(name, after === undefined ? undefined : parseRefValue(name, after, root.objectFormat));
  });
  return isPromise(compared)
    ? compared.then(() => changeRefState(known.state, changes))
    : changeRefState(known.state, changes);
}
