/**
 * What the object store is compared with: each object of git a key of its own, as git's loose objects are, the refs in a table.
 * A push puts what is new, one request an object. A clone walks from a commit, one request an object, and joins what it gets
 * into a pack; a fetch of one commit compares its trees with those of its parent and gets what differs. A fork copies every key.
 * Sixteen requests are on their way at once. Refs, checks of what is pushed, HTTP and pack deltas are left out: a server would
 * have to add them.
 */
import { createHash } from "node:crypto";
import { parseCommitLinks } from "../../src/object/commit.js";
import type { ObjectId, ObjectType } from "../../src/object/object-id.js";
import { parseTagLinks } from "../../src/object/tag.js";
import { MODE_GITLINK, MODE_TREE, parseTree } from "../../src/object/tree.js";
import { formatLooseObject, parseLooseObject } from "../../src/pack/loose-object.js";
import { formatEntry, formatPackHeader } from "../../src/pack/pack-writer.js";
import type { Bucket } from "../../src/storage/object-store/bucket/bucket.js";

export interface PlainObject {
  readonly oid: ObjectId;
  readonly type: ObjectType;
  readonly data: Buffer;
}

const AT_ONCE = 16;

export class ObjectPerKey {
  readonly #bucket: Bucket;
  readonly #name: string;

  /** @param name of the repository: all its keys begin with it */
  constructor(bucket: Bucket, name: string) {
    this.#bucket = bucket;
    this.#name = name;
  }

  async put(objects: AsyncIterable<PlainObject>): Promise<void> {
    const putting = new Sixteen();
    for await (const { oid, type, data } of objects)
      await putting.add(() => this.#bucket.put(this.#keyOf(oid), [formatLooseObject(type, data)]));
    await putting.end();
  }

  /** @returns the pack's size in bytes */
  async clone(tip: ObjectId): Promise<number> {
    const entries: Buffer[] = [];
    const seen = new Set<ObjectId>([tip]);
    const waiting: ObjectId[] = [tip];
    const getting = new Sixteen();
    const take = async (oid: ObjectId): Promise<void> => {
      const { type, data } = await this.#read(oid);
      entries.push(formatEntry(type, data));
      for (const next of linksOf(type, data)) {
        if (seen.has(next)) continue;
        seen.add(next);
        waiting.push(next);
      }
    };
    for (;;) {
      for (let oid = waiting.pop(); oid !== undefined; oid = waiting.pop()) {
        const taken = oid;
        await getting.add(() => take(taken));
      }
      // Whoever is on the way may find more.
      if (!(await getting.one())) return packSize(entries);
    }
  }

  /** What a commit has that its parent has not. @returns the pack's size in bytes */
  async fetchCommit(tip: ObjectId): Promise<number> {
    const entries: Buffer[] = [];
    const take = async (oid: ObjectId): Promise<Buffer> => {
      const { type, data } = await this.#read(oid);
      entries.push(formatEntry(type, data));
      return data;
    };
    const differ = async (oid: ObjectId, old: ObjectId | undefined): Promise<void> => {
      const [mine, theirs] = await Promise.all([take(oid), old === undefined ? undefined : this.#read(old)]);
      const before = new Map(
        theirs === undefined ? [] : parseTree(theirs.data, "sha1").map((entry) => [entry.name, entry]),
      );
      const changed = parseTree(mine, "sha1").filter(
        ({ mode, name, oid: id }) => mode !== MODE_GITLINK && before.get(name)?.oid !== id,
      );
      await Promise.all(
        changed.map(async ({ mode, name, oid: id }) => {
          const was = before.get(name);
          if (mode === MODE_TREE) await differ(id, was?.mode === MODE_TREE ? was.oid : undefined);
          else await take(id);
        }),
      );
    };
    const { tree, parents } = parseCommitLinks(await take(tip), "sha1");
    const [parent] = parents;
    const old = parent === undefined ? undefined : parseCommitLinks((await this.#read(parent)).data, "sha1");
    await differ(tree, old?.tree);
    return packSize(entries);
  }

  /** @returns how many were copied until it was too late */
  async copyTo(name: string, oids: readonly ObjectId[], stopAfterMs: number): Promise<number> {
    const copy = new ObjectPerKey(this.#bucket, name);
    const copying = new Sixteen();
    const begun = performance.now();
    let copied = 0;
    for (const oid of oids) {
      if (performance.now() - begun > stopAfterMs) break;
      copied++;
      await copying.add(async () =>
        this.#bucket.put(copy.#keyOf(oid), [await this.#bucket.get(this.#keyOf(oid))]),
      );
    }
    await copying.end();
    return copied;
  }

  async #read(oid: ObjectId): Promise<{ readonly type: ObjectType; readonly data: Buffer }> {
    return parseLooseObject(await this.#bucket.get(this.#keyOf(oid)));
  }

  #keyOf(oid: ObjectId): string {
    return `${this.#name}/${oid.slice(0, 2)}/${oid.slice(2)}`;
  }
}

/** Work of which so much is done at once. */
class Sixteen {
  readonly #pending = new Set<Promise<void>>();

  /** Waits for a place. */
  async add(work: () => Promise<void>): Promise<void> {
    if (this.#pending.size >= AT_ONCE) await this.one();
    const begun = work().finally(() => this.#pending.delete(begun));
    this.#pending.add(begun);
  }

  /** @returns false when there is nothing to wait for */
  async one(): Promise<boolean> {
    if (this.#pending.size === 0) return false;
    await Promise.race(this.#pending);
    return true;
  }

  async end(): Promise<void> {
    await Promise.all(this.#pending);
  }
}

function packSize(entries: readonly Buffer[]): number {
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
