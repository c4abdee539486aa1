/**
 * What the object store is compared with: each object of git a key of its own, as git's loose objects are, the refs in a table.
 * A push puts what is new, one request an object; a clone walks from a commit, one request an object, and joins what it gets
 * into a pack. Sixteen requests are on their way at once. What a server would add is left out.
 */
import { createHash } from "node:crypto";
import { parseCommitLinks } from "../src/object/commit.js";
import type { ObjectId, ObjectType } from "../src/object/object-id.js";
import { parseTagLinks } from "../src/object/tag.js";
import { MODE_GITLINK, parseTree } from "../src/object/tree.js";
import { formatLooseObject, parseLooseObject } from "../src/pack/loose-object.js";
import { formatEntry, formatPackHeader } from "../src/pack/pack-writer.js";
import type { Bucket } from "../src/storage/object-store/bucket/bucket.js";

const AT_ONCE = 16;

export interface PlainObject {
  readonly oid: ObjectId;
  readonly type: ObjectType;
  readonly data: Buffer;
}

export async function putObjects(bucket: Bucket, objects: AsyncIterable<PlainObject>): Promise<void> {
  const pending = new Set<Promise<void>>();
  for await (const { oid, type, data } of objects) {
    const put = bucket.put(keyOf(oid), [formatLooseObject(type, data)]).finally(() => pending.delete(put));
    pending.add(put);
    if (pending.size >= AT_ONCE) await Promise.race(pending);
  }
  await Promise.all(pending);
}

/** @returns the pack's size in bytes */
export async function clonePack(bucket: Bucket, tip: ObjectId): Promise<number> {
  const seen = new Set<ObjectId>([tip]);
  const waiting: ObjectId[] = [tip];
  const entries: Buffer[] = [];
  const pending = new Set<Promise<void>>();
  const take = async (oid: ObjectId): Promise<void> => {
    const { type, data } = parseLooseObject(await bucket.get(keyOf(oid)));
    entries.push(formatEntry(type, data));
    for (const next of linksOf(type, data)) {
      if (seen.has(next)) continue;
      seen.add(next);
      waiting.push(next);
    }
  };
  while (waiting.length > 0 || pending.size > 0) {
    while (waiting.length > 0 && pending.size < AT_ONCE) {
      const taken = take(waiting.pop() as ObjectId).finally(() => pending.delete(taken));
      pending.add(taken);
    }
    await Promise.race(pending);
  }
  const hash = createHash("sha1").update(formatPackHeader(entries.length));
  let sizeBytes = 32;
  for (const entry of entries) {
    hash.update(entry);
    sizeBytes += entry.length;
  }
  hash.digest();
  return sizeBytes;
}

function linksOf(type: ObjectType, data: Buffer): readonly ObjectId[] {
  switch (type) {
    case "commit": {
      const { tree, parents } = parseCommitLinks(data, "sha1");
      return [tree, ...parents];
    }
    case "tree":
      return parseTree(data, "sha1")
        .filter(({ mode }) => mode !== MODE_GITLINK)
        .map(({ oid }) => oid);
    case "tag":
      return [parseTagLinks(data, "sha1").target];
    case "blob":
      return [];
  }
}

function keyOf(oid: ObjectId): string {
  return `objects/${oid.slice(0, 2)}/${oid.slice(2)}`;
}
