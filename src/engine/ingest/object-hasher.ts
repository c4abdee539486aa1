/**
 * Ids of new objects, raw, into a table. Objects of peers go through SHA-1 with collision detection when the policy
 * asks for it (`object/collision-detection.ts`); SHA-256 needs none.
 */
import * as crypto from "node:crypto";
import { createObjectHash, hashBytes, type ObjectFormat } from "../../object/object-format.js";
import type { ObjectType } from "../../object/object-id.js";
import { objectTypeOf } from "../../pack/entry-header.js";
import type { Kind } from "./link-set.js";

export interface ObjectHasher {
  /** @throws pack/collision */
  hash(kind: Kind, data: Buffer, target: Uint8Array, at: number): void;
  /** For an object that comes in pieces. */
  open(kind: Kind, sizeBytes: number): ObjectHashStream;
}

export interface ObjectHashStream {
  update(piece: Uint8Array): void;
  /** @throws pack/collision */
  digest(target: Uint8Array, at: number): void;
}

export function typeName(kind: Kind): ObjectType {
  return objectTypeOf(kind) as ObjectType;
}

/** Up to this size, one call into OpenSSL over a copy is cheaper than a hash object. */
const ONE_SHOT_BYTES_MAX = 8192;
const oneShot: { hash?: (algorithm: string, data: Uint8Array, encoding: "binary") => string } =
  crypto as never;

export function createObjectHasher(format: ObjectFormat): ObjectHasher {
  const h = hashBytes(format);
  const scratch = Buffer.alloc(ONE_SHOT_BYTES_MAX + 64);
  const put = (digest: string, target: Uint8Array, at: number): void => {
    for (let i = 0; i < h; i++) target[at + i] = digest.charCodeAt(i);
  };
  const open = (kind: Kind, sizeBytes: number): ObjectHashStream => {
    const hash = createObjectHash(format);
    hash.update(`${typeName(kind)} ${sizeBytes}\0`);
    return {
      update: (piece) => void hash.update(piece),
      digest: (target, at) => put(hash.digest("binary"), target, at),
    };
  };
  const { hash: hashOnce } = oneShot;
  return {
    open,
    hash(kind, data, target, at) {
      if (hashOnce !== undefined && data.length <= ONE_SHOT_BYTES_MAX) {
        const head = scratch.write(`${typeName(kind)} ${data.length}\0`, 0, "latin1");
        scratch.set(data, head);
        put(hashOnce(format, scratch.subarray(0, head + data.length), "binary"), target, at);
        return;
      }
      const hash = open(kind, data.length);
      hash.update(data);
      hash.digest(target, at);
    },
  };
}
