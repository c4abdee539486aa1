/**
 * Reading an object of any size, waiting for bytes where they are not resident. One base, one delta and one result
 * are held at a time, however long the chain of deltas. No recursion.
 */
import { ready, type Steps } from "../base/maybe-promise.js";
import type { ObjectId } from "../object/object-id.js";
import { applyDelta } from "./delta.js";
import { ENTRY_HEADER_BYTES_MAX, type EntryHeader, objectTypeOf } from "./entry-header.js";
import { canStreamInflate, StreamInflater, tryInflateAt } from "./inflate.js";
import {
  baseOffsetOf,
  compressedBound,
  corruptEntry,
  entryHeaderAt,
  type EntrySource,
  type ExternalObjects,
  type PackedObject,
  reasonOf,
} from "./packed-entry.js";
import { findResolved, keepResolved } from "./resident-object.js";

/** Larger entries are inflated piece by piece: reading them whole first would need twice the memory. */
const WHOLE_BYTES_MAX = canStreamInflate ? 1024 * 1024 : Number.POSITIVE_INFINITY;
const PIECE_BYTES = 1024 * 1024;

/** @throws object/corrupt, storage/io */
export function* readChain(
  source: EntrySource,
  start: number,
  external: ExternalObjects | undefined,
): Steps<PackedObject> {
  const deltas: number[] = [];
  let offset = start;
  let object: PackedObject | undefined;
  while (object === undefined) {
    object = findResolved(source, offset);
    if (object !== undefined) break;
    const header = yield* readHeader(source, offset);
    const type = objectTypeOf(header.type);
    if (type !== undefined) {
      object = { type, data: yield* inflateEntry(source, offset, header) };
      if (deltas.length > 0) keepResolved(source, offset, object);
      break;
    }
    deltas.push(offset);
    if (deltas.length > source.index.objectCount)
      throw corruptEntry(source, offset, "its deltas run in a circle");
    const base = baseOffsetOf(source, header, offset);
    if (base === undefined) object = yield* readExternal(source, offset, header.baseOid ?? "", external);
    else offset = base;
  }
  for (let i = deltas.length - 1; i >= 0; i--) {
    offset = deltas[i] as number;
    const delta = yield* inflateEntry(source, offset, yield* readHeader(source, offset));
    try {
      object = { type: object.type, data: applyDelta(object.data, delta) };
    } catch (cause) {
      throw corruptEntry(source, offset, reasonOf(cause), cause);
    }
    keepResolved(source, offset, object);
  }
  return object;
}

/** An object outside of the pack that an entry needs as its base. @throws object/corrupt when it is missing */
export function* readExternal(
  source: EntrySource,
  offset: number,
  oid: ObjectId,
  external: ExternalObjects | undefined,
): Steps<PackedObject> {
  const base = external === undefined ? undefined : yield* ready(external(oid));
  if (base === undefined) throw corruptEntry(source, offset, `its base ${oid} is missing`);
  return base;
}

function* readHeader(source: EntrySource, offset: number): Steps<EntryHeader> {
  return entryHeaderAt(source, yield* ready(source.bytes.read(offset, ENTRY_HEADER_BYTES_MAX)), offset);
}

function* inflateEntry(source: EntrySource, offset: number, header: EntryHeader): Steps<Buffer> {
  const { sizeBytes, headerLength } = header;
  if (sizeBytes > WHOLE_BYTES_MAX) return yield* inflateByPieces(source, offset, header);
  let length = headerLength + compressedBound(sizeBytes);
  for (;;) {
    const bytes = yield* ready(source.bytes.read(offset, length));
    try {
      const inflated = tryInflateAt(bytes, headerLength, sizeBytes);
      if (inflated !== "short") return inflated.data;
    } catch (cause) {
      throw corruptEntry(source, offset, reasonOf(cause), cause);
    }
    if (bytes.length < length) throw corruptEntry(source, offset, "the pack ends in it");
    length *= 2;
  }
}

function* inflateByPieces(source: EntrySource, offset: number, header: EntryHeader): Steps<Buffer> {
  const { sizeBytes, headerLength } = header;
  try {
    const data = Buffer.allocUnsafeSlow(sizeBytes);
    let made = 0;
    const inflater = new StreamInflater(sizeBytes, (piece) => {
      data.set(piece, made);
      made += piece.length;
    });
    for (let at = offset + headerLength; ; at += PIECE_BYTES) {
      const piece = yield* ready(source.bytes.read(at, PIECE_BYTES));
      if (piece.length === 0) throw corruptEntry(source, offset, "the pack ends in it");
      if (inflater.push(piece) !== undefined) return data;
    }
  } catch (cause) {
    throw corruptEntry(source, offset, reasonOf(cause), cause);
  }
}
