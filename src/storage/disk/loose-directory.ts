/**
 * The loose objects of one `objects` directory.
 *
 * "Absent" is answered from listings of the directory and its 256 subdirectories, so that asking for thousands of
 * objects that are not there (the objects of a push) costs a few `stat` calls. A listing counts when it was
 * confirmed at or after the moment that the caller names (`since`, on the clock of `performance.now()`).
 */
import * as fs from "node:fs/promises";
import { LRUCache } from "lru-cache";
import type { MaybePromise } from "../../base/maybe-promise.js";
import { hexLength, type ObjectFormat } from "../../object/object-format.js";
import type { ObjectId } from "../../object/object-id.js";
import { detached } from "../../pack/slab.js";
import type { GitObject, ObjectHeader } from "../contracts/object-reader.js";
import { DirectoryListing } from "./directory-listing.js";
import { ioError, isAbsent } from "./file-errors.js";
import { looseObjectPath, readLooseHeader, readLooseObject } from "./loose-object-file.js";

/** Content of loose objects, all directories of the thread together. */
const contents = new LRUCache<string, GitObject>({
  maxSize: 32 * 1024 * 1024,
  maxEntrySize: 512 * 1024,
  sizeCalculation: (object) => object.data.length + 256,
});

let serials = 0;

export class LooseDirectory {
  readonly path: string;
  readonly #restLength: number;
  readonly #fan: DirectoryListing;
  readonly #shards = new Map<string, DirectoryListing>();
  readonly #serial = serials++;
  #vanishedAt = Number.NEGATIVE_INFINITY;

  constructor(path: string, objectFormat: ObjectFormat) {
    this.path = path;
    this.#restLength = hexLength(objectFormat) - 2;
    this.#fan = new DirectoryListing(path);
  }

  read(oid: ObjectId, since: number): MaybePromise<GitObject | undefined> {
    const known = this.#knownSince(oid, since);
    if (known === false) return undefined;
    const key = `${this.#serial}:${oid}`;
    const cached = known === true ? contents.get(key) : undefined;
    if (cached !== undefined) return cached;
    return this.#open(oid, since, readLooseObject, ({ type, data }) =>
      contents.set(key, { type, data: detached(data) }),
    );
  }

  readHeader(oid: ObjectId, since: number): MaybePromise<ObjectHeader | undefined> {
    const known = this.#knownSince(oid, since);
    if (known === false) return undefined;
    const cached = known === true ? contents.get(`${this.#serial}:${oid}`) : undefined;
    if (cached !== undefined) return { type: cached.type, sizeBytes: cached.data.length };
    return this.#open(oid, since, readLooseHeader);
  }

  has(oid: ObjectId, since: number): MaybePromise<boolean> {
    return this.#knownSince(oid, since) ?? this.#look(oid, since);
  }

  /** When it was last seen that the object is not here. */
  absentAt(oid: ObjectId): number {
    const shard = this.#fan.names.has(oid.slice(0, 2)) ? this.#shards.get(oid.slice(0, 2)) : this.#fan;
    return Math.max(shard?.validatedAt ?? this.#fan.validatedAt, this.#vanishedAt);
  }

  async *list(): AsyncIterable<ObjectId> {
    await this.#fan.refresh();
    for (const shard of this.#fan.names) {
      if (!/^[0-9a-f]{2}$/.test(shard)) continue;
      let names: string[];
      try {
        names = await fs.readdir(`${this.path}/${shard}`);
      } catch (cause) {
        if (isAbsent(cause)) continue;
        throw ioError("listing", `${this.path}/${shard}`, cause);
      }
      for (const name of names) {
        if (name.length === this.#restLength && /^[0-9a-f]+$/.test(name)) yield shard + name;
      }
    }
  }

  /** undefined: no listing is recent enough. */
  #knownSince(oid: ObjectId, since: number): boolean | undefined {
    const name = oid.slice(0, 2);
    if (this.#fan.validatedAt < since) return undefined;
    if (!this.#fan.names.has(name)) return false;
    const shard = this.#shards.get(name);
    if (shard === undefined || shard.validatedAt < since) return undefined;
    return shard.names.has(oid.slice(2));
  }

  async #look(oid: ObjectId, since: number): Promise<boolean> {
    if (this.#fan.validatedAt < since) await this.#fan.refresh();
    const name = oid.slice(0, 2);
    if (!this.#fan.names.has(name)) {
      this.#shards.delete(name);
      return false;
    }
    let shard = this.#shards.get(name);
    if (shard === undefined) this.#shards.set(name, (shard = new DirectoryListing(`${this.path}/${name}`)));
    if (shard.validatedAt < since) await shard.refresh();
    return shard.names.has(oid.slice(2));
  }

  async #open<T>(
    oid: ObjectId,
    since: number,
    read: (path: string) => Promise<T | undefined>,
    keep?: (value: T) => void,
  ): Promise<T | undefined> {
    if (this.#fan.validatedAt < since) await this.#fan.refresh();
    if (!this.#fan.names.has(oid.slice(0, 2))) return undefined;
    const value = await read(looseObjectPath(this.path, oid));
    if (value === undefined) this.#vanishedAt = performance.now();
    else keep?.(value);
    return value;
  }
}
