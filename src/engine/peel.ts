/**
 * Following annotated tags to what they name.
 */
import { LRUCache } from "lru-cache";
import { cacheOfProcess } from "../base/process-caches.js";
import { GitwharfError } from "../base/errors.js";
import { isPromise, type MaybePromise } from "../base/maybe-promise.js";
import type { ObjectId, ObjectType } from "../object/object-id.js";
import { parseTagLinks } from "../object/tag.js";
import type { ObjectReader } from "../storage/contracts/object-reader.js";

export interface Peeled {
  /** The object at the end of the chain: the object itself when it is no tag. */
  readonly oid: ObjectId;
  readonly type: Exclude<ObjectType, "tag">;
  /** The tag objects passed on the way, outermost first; empty when the object is no tag. */
  readonly tags: readonly ObjectId[];
}

/** Tags of tags of tags: an honest chain has two or three links. */
const CHAIN_MAX = 1000;

/** What a tag object says depends on nothing but its id: shared by the thread. About 200 bytes an entry. */
const links = cacheOfProcess(new LRUCache<ObjectId, { readonly target: ObjectId }>({ max: 16_384 }));

/**
 * undefined when the object, or one on the way, is absent.
 * @throws object/corrupt when the chain is longer than a thousand tags
 */
export function peelTag(objects: ObjectReader, oid: ObjectId): MaybePromise<Peeled | undefined> {
  return peelFrom(objects, oid, []);
}

function peelFrom(
  objects: ObjectReader,
  start: ObjectId,
  tags: ObjectId[],
): MaybePromise<Peeled | undefined> {
  let oid = start;
  for (;;) {
    if (tags.length > CHAIN_MAX) {
      throw new GitwharfError("object/corrupt", `the chain of tags that leads to ${oid} has no end`);
    }
    const known = links.get(oid);
    if (known !== undefined && objects.locate(oid) !== undefined) {
      tags.push(oid);
      oid = known.target;
      continue;
    }
    const header = objects.readHeader(oid);
    if (isPromise(header)) return header.then((h) => step(objects, oid, tags, h?.type));
    if (header === undefined) return undefined;
    if (header.type !== "tag") return { oid, type: header.type, tags };
    return step(objects, oid, tags, header.type);
  }
}

function step(
  objects: ObjectReader,
  oid: ObjectId,
  tags: ObjectId[],
  type: ObjectType | undefined,
): MaybePromise<Peeled | undefined> {
  if (type === undefined) return undefined;
  if (type !== "tag") return { oid, type, tags };
  const follow = (data: Buffer): MaybePromise<Peeled | undefined> => {
    const { target } = parseTagLinks(data, objects.objectFormat);
    links.set(oid, { target });
    tags.push(oid);
    return peelFrom(objects, target, tags);
  };
  const object = objects.read(oid);
  if (isPromise(object)) return object.then((o) => (o === undefined ? undefined : follow(o.data)));
  return object === undefined ? undefined : follow(object.data);
}
