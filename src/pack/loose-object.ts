/**
 * Loose objects: a zlib stream of `type SP size NUL content`. Specification: gitformat-loose.
 */
import { GitwharfError } from "../base/errors.js";
import type { ObjectType } from "../object/object-id.js";
import { deflate, inflateAt, inflatePrefix } from "./inflate.js";

/** `commit 18446744073709551615\0` */
const HEADER_BYTES_MAX = 32;

export interface LooseHeader {
  readonly type: ObjectType;
  readonly sizeBytes: number;
}

/** @param bytes the file, or its beginning. @throws object/corrupt */
export function parseLooseHeader(bytes: Uint8Array): LooseHeader {
  return readHeader(bytes);
}

/** @param bytes the whole file. @throws object/corrupt */
export function parseLooseObject(bytes: Uint8Array): { readonly type: ObjectType; readonly data: Buffer } {
  const { type, sizeBytes, headerLength } = readHeader(bytes);
  try {
    const { data, consumed } = inflateAt(bytes, 0, headerLength + sizeBytes);
    if (consumed !== bytes.length) throw corrupt("bytes follow its content");
    return { type, data: data.subarray(headerLength) };
  } catch (cause) {
    throw corrupt("its content is damaged", cause);
  }
}

export function formatLooseObject(type: ObjectType, data: Uint8Array): Buffer {
  return deflate(Buffer.concat([Buffer.from(`${type} ${data.length}\0`), data]), 1);
}

function readHeader(bytes: Uint8Array): LooseHeader & { readonly headerLength: number } {
  let head: Buffer;
  try {
    head = inflatePrefix(bytes, 0, HEADER_BYTES_MAX);
  } catch (cause) {
    throw corrupt("it is no zlib stream", cause);
  }
  const end = head.indexOf(0);
  const match = /^(commit|tree|blob|tag) (0|[1-9][0-9]{0,15})$/.exec(
    head.toString("latin1", 0, Math.max(end, 0)),
  );
  if (match === null) throw corrupt("its header is malformed");
  return { type: match[1] as ObjectType, sizeBytes: Number(match[2]), headerLength: end + 1 };
}

function corrupt(why: string, cause?: unknown): GitwharfError {
  return new GitwharfError("object/corrupt", `a loose object cannot be read: ${why}`, { cause });
}
