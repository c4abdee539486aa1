/**
 * Numbers for objects: every object of a snapshot that stands in a pack has an *ordinal*, the pack's first ordinal
 * plus the position in its index, so that sets of objects are bit sets and no ids are made on hot paths. Objects
 * outside packs get ordinals behind the packed ones as they are met.
 *
 * An object that stands in several packs has one ordinal: that of the first pack that holds it, largest pack first
 * (there most lookups hit at once, and the copies that thin-pack completion appended to small packs are passed by).
 */
import { LRUCache } from "lru-cache";
import { GitwharfError } from "../../base/errors.js";
import { isPromise, type MaybePromise } from "../../base/maybe-promise.js";
import { hashBytes, type ObjectFormat } from "../../object/object-format.js";
import { type ObjectId, objectIdAt } from "../../object/object-id.js";
import type { GitObject, ObjectHeader, ObjectReader } from "../../storage/contracts/object-reader.js";
import type { Pack } from "../../pack/pack.js";
import { detached } from "../../pack/slab.js";
import { IdTable, packOfOrdinal } from "./id-table.js";
import { ParsedTree } from "./parsed-tree.js";

/** Trees read lately, by pack and position: one is often laid beside its successor and its predecessor. */
const trees = new LRUCache<number, ParsedTree>({
  maxSize: 32 * 1024 * 1024,
  maxEntrySize: 1024 * 1024,
  // An entry's beginning is counted as an eighth of the entry.
  sizeCalculation: ({ data }) => data.length + (data.length >>> 3) + 128,
});
const packNumbers = new WeakMap<Pack, number>();
let packsNumbered = 0;

function packNumber(pack: Pack): number {
  let number = packNumbers.get(pack);
  if (number === undefined) {
    number = packsNumbered++;
    packNumbers.set(pack, number);
  }
  return number;
}

export class ObjectSpace {
  readonly objects: ObjectReader;
  readonly objectFormat: ObjectFormat;
  /** Largest first. */
  readonly packs: readonly Pack[];
  /** The first ordinal of each pack. */
  readonly firsts: readonly number[];
  /** Ordinals below it are packed (a few of them are not in use). */
  readonly packedCount: number;
  #table: IdTable | undefined;
  readonly #outside = new Map<ObjectId, number>();
  readonly #outsideIds: ObjectId[] = [];
  readonly #external: (oid: ObjectId) => MaybePromise<GitObject | undefined>;

  constructor(objects: ObjectReader) {
    this.objects = objects;
    this.objectFormat = objects.objectFormat;
    this.packs = [...objects.packs].sort(
      (a, b) => b.index.objectCount - a.index.objectCount || (a.key < b.key ? -1 : 1),
    );
    const firsts: number[] = [];
    let first = 0;
    for (const pack of this.packs) {
      firsts.push(first);
      // Each pack's bits begin with a word of their own: a set can be taken apart by pack.
      first += Math.ceil(pack.index.objectCount / 32) * 32;
    }
    this.firsts = firsts;
    this.packedCount = first;
    this.#external = (oid) => objects.read(oid);
  }

  /** Ordinals given out so far are below it. */
  get size(): number {
    return this.packedCount + this.#outsideIds.length;
  }

  /** −1 when it is in no pack and was not met before. */
  find(oid: ObjectId): number {
    for (let k = 0; k < this.packs.length; k++) {
      const position = (this.packs[k] as Pack).index.find(oid);
      if (position >= 0) return (this.firsts[k] as number) + position;
    }
    return this.#outside.get(oid) ?? -1;
  }

  /** Makes millions of lookups cheaper at the price of eight to sixteen bytes an object. */
  prepareForManyLookups(): void {
    this.#table ??= new IdTable(this.packs, this.firsts, hashBytes(this.objectFormat));
  }

  /** The packed ordinal of a raw id, or −1. */
  findPackedBytes(bytes: Buffer, offset: number): number {
    if (this.#table !== undefined) return this.#table.find(bytes, offset);
    for (let k = 0; k < this.packs.length; k++) {
      const position = (this.packs[k] as Pack).index.findBytes(bytes, offset);
      if (position >= 0) return (this.firsts[k] as number) + position;
    }
    return -1;
  }

  /** The ordinal of an id; an id in no pack gets one now (whether the object exists is not checked). */
  ordinalOf(oid: ObjectId): number {
    const known = this.find(oid);
    return known >= 0 ? known : this.#intern(oid);
  }

  ordinalOfBytes(bytes: Buffer, offset: number): number {
    const packed = this.findPackedBytes(bytes, offset);
    if (packed >= 0) return packed;
    const oid = objectIdAt(bytes, offset, this.objectFormat);
    return this.#outside.get(oid) ?? this.#intern(oid);
  }

  /** Which of `packs`; −1 outside. */
  packNumberOf(ordinal: number): number {
    if (ordinal >= this.packedCount) return -1;
    return packOfOrdinal(this.firsts, ordinal);
  }

  oidOf(ordinal: number): ObjectId {
    const k = this.packNumberOf(ordinal);
    if (k < 0) return this.#outsideIds[ordinal - this.packedCount] as ObjectId;
    return (this.packs[k] as Pack).index.oidAt(ordinal - (this.firsts[k] as number));
  }

  /** @throws object/corrupt when it is missing or unreadable */
  read(ordinal: number): MaybePromise<GitObject> {
    const k = this.packNumberOf(ordinal);
    if (k >= 0) {
      return (this.packs[k] as Pack).readObject(ordinal - (this.firsts[k] as number), this.#external);
    }
    const object = this.objects.read(this.oidOf(ordinal));
    return isPromise(object)
      ? object.then((o) => o ?? this.#missing(ordinal))
      : (object ?? this.#missing(ordinal));
  }

  /** The content of a tree. @throws object/corrupt when it is missing, unreadable or no tree */
  readTree(ordinal: number): MaybePromise<ParsedTree> {
    const k = this.packNumberOf(ordinal);
    const pack = this.packs[k];
    const key = pack === undefined ? -1 : packNumber(pack) * 2 ** 32 + ordinal - (this.firsts[k] as number);
    const cached = trees.get(key);
    if (cached !== undefined) return cached;
    const use = (object: GitObject): ParsedTree => {
      if (object.type !== "tree") {
        throw new GitwharfError(
          "object/corrupt",
          `object ${this.oidOf(ordinal)} is a ${object.type}, not a tree`,
        );
      }
      if (key < 0) return new ParsedTree(object.data);
      const tree = new ParsedTree(detached(object.data));
      trees.set(key, tree);
      return tree;
    };
    const object = this.read(ordinal);
    return isPromise(object) ? object.then(use) : use(object);
  }

  readHeader(ordinal: number): MaybePromise<ObjectHeader> {
    const k = this.packNumberOf(ordinal);
    if (k >= 0) return (this.packs[k] as Pack).readObjectHeader(ordinal - (this.firsts[k] as number));
    const header = this.objects.readHeader(this.oidOf(ordinal));
    return isPromise(header)
      ? header.then((h) => h ?? this.#missing(ordinal))
      : (header ?? this.#missing(ordinal));
  }

  #intern(oid: ObjectId): number {
    const ordinal = this.size;
    this.#outside.set(oid, ordinal);
    this.#outsideIds.push(oid);
    return ordinal;
  }

  #missing(ordinal: number): never {
    throw new GitwharfError(
      "object/corrupt",
      `object ${this.oidOf(ordinal)} is referred to but missing from the repository; run 'gitwharf fsck'`,
    );
  }
}
