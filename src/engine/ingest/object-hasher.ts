/**
 * Ids of new objects, raw, into a table. Objects of peers go through SHA-1 with collision detection when the policy
 * asks for it (`object/collision-detection.ts`); SHA-256 needs none.
 */
import * as crypto from "node:crypto";
import { GitwharfError } from "../../base/errors.js";
import { type CollisionDetector, createCollisionDetector } from "../../object/collision-detection.js";
import { createObjectHash, hashBytes, type ObjectFormat } from "../../object/object-format.js";
import { type ObjectId, objectIdAt, type ObjectType } from "../../object/object-id.js";
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
const HEAD_BYTES_MAX = 64;
const oneShot: { hash?: (algorithm: string, data: Uint8Array, encoding: "binary") => string } =
  crypto as never;

export function createObjectHasher(format: ObjectFormat, collisionDetection: boolean): ObjectHasher {
  return collisionDetection && format === "sha1" ? createDetectingHasher() : createPlainHasher(format);
}

/** One for all hashers of a thread. */
let detector: CollisionDetector | undefined;

function createDetectingHasher(): ObjectHasher {
  detector ??= createCollisionDetector();
  const { hash, open } = detector;
  const scratch = Buffer.alloc(HEAD_BYTES_MAX);
  const headOf = (kind: Kind, sizeBytes: number): Buffer =>
    scratch.subarray(0, scratch.write(`${typeName(kind)} ${sizeBytes}\0`, 0, "latin1"));
  const judge = (crafted: boolean, target: Uint8Array, at: number): void => {
    if (!crafted) return;
    const bytes = Buffer.from(target.buffer, target.byteOffset, target.length);
    throw craftedCollision(objectIdAt(bytes, at, "sha1"));
  };
  return {
    open(kind, sizeBytes) {
      const stream = open();
      stream.update(headOf(kind, sizeBytes));
      return {
        update: (piece) => stream.update(piece),
        digest: (target, at) => judge(stream.digest(target, at), target, at),
      };
    },
    hash: (kind, data, target, at) => judge(hash(headOf(kind, data.length), data, target, at), target, at),
  };
}

function craftedCollision(oid: ObjectId): GitwharfError {
  return new GitwharfError(
    "pack/collision",
    `object ${oid} of the pack shows signs of a SHA-1 collision attack; the push is refused`,
    { details: { oid } },
  );
}

function createPlainHasher(format: ObjectFormat): ObjectHasher {
  const h = hashBytes(format);
  const scratch = Buffer.alloc(ONE_SHOT_BYTES_MAX + HEAD_BYTES_MAX);
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
