/** The object that a tag stands for. */
import { isGitwharfError } from "../base/errors.js";
import { isPromise, type MaybePromise } from "../base/maybe-promise.js";
import type { ObjectId } from "../object/object-id.js";
import { parseTagLinks } from "../object/tag.js";
import type { ObjectHeader, ObjectReader } from "./contracts/object-reader.js";

/** A longer chain of tags on tags is no one's work but an attacker's. */
const CHAIN_MAX = 64;

/** The end of a chain of tag objects; undefined when the id names no tag, or the chain cannot be followed. */
export function peelTag(objects: ObjectReader, oid: ObjectId): MaybePromise<ObjectId | undefined> {
  const follow = (header: ObjectHeader | undefined): MaybePromise<ObjectId | undefined> =>
    header?.type === "tag" ? followTags(objects, oid) : undefined;
  const header = objects.readHeader(oid);
  return isPromise(header) ? header.then(follow) : follow(header);
}

async function followTags(objects: ObjectReader, first: ObjectId): Promise<ObjectId | undefined> {
  let oid = first;
  for (let steps = 0; steps < CHAIN_MAX; steps++) {
    const object = await objects.read(oid);
    if (object === undefined) return undefined;
    try {
      const { target, targetType } = parseTagLinks(object.data, objects.objectFormat);
      if (targetType !== "tag") return target;
      oid = target;
    } catch (error) {
      if (isGitwharfError(error, "object/malformed")) return undefined;
      throw error;
    }
  }
  return undefined;
}
