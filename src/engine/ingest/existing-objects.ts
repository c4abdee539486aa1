/**
 * The first line of defence against crafted collisions: a new object whose id the repository holds already must be
 * the same, byte for byte. It is never replaced.
 */
import { GitwharfError } from "../../base/errors.js";
import { isPromise } from "../../base/maybe-promise.js";
import { hashBytes } from "../../object/object-format.js";
import { type ObjectId, objectIdAt } from "../../object/object-id.js";
import type { GitObject, ObjectReader } from "../../storage/contracts/object-reader.js";
import type { Kind } from "./link-set.js";
import { typeName } from "./object-hasher.js";

/** More packs than this are searched through the reader's own table. */
const SEARCHED_ONE_BY_ONE_MAX = 16;

/** @throws pack/collision */
export function compareWithExisting(oid: ObjectId, kind: Kind, data: Buffer, existing: GitObject): void {
  if (existing.type !== typeName(kind) || !existing.data.equals(data)) throw collision(oid);
}

export function collision(oid: ObjectId): GitwharfError {
  return new GitwharfError(
    "pack/collision",
    `object ${oid} of the pack differs from the object of the same id that the repository holds: hash collision`,
    { details: { oid } },
  );
}

/** For a worker thread: lookups by raw id, reads that block. */
export class ExistingObjects {
  readonly #reader: ObjectReader;
  readonly #loose: Buffer;
  readonly #hashBytes: number;
  /** Comparisons that could not be made at once: the first copy is damaged and another is looked for. */
  readonly #late: Promise<void>[] = [];

  /** @param loose raw ids of the loose objects, sorted */
  constructor(reader: ObjectReader, loose: Uint8Array) {
    this.#reader = reader;
    this.#loose = Buffer.from(loose.buffer, loose.byteOffset, loose.length);
    this.#hashBytes = hashBytes(reader.objectFormat);
  }

  has(oids: Uint8Array, at: number): boolean {
    const { packs } = this.#reader;
    if (packs.length > SEARCHED_ONE_BY_ONE_MAX) {
      if (this.#reader.locate(this.#hex(oids, at)) !== undefined) return true;
    } else {
      for (const pack of packs) if (pack.index.findBytes(oids, at) >= 0) return true;
    }
    return this.#isLoose(oids, at);
  }

  /**
   * Nothing when the repository has no such object.
   * @param data borrowed for the call
   * @throws pack/collision, object/corrupt, storage/io
   */
  compare(kind: Kind, data: Buffer, oids: Uint8Array, at: number): void {
    if (!this.has(oids, at)) return;
    const oid = this.#hex(oids, at);
    const existing = this.#reader.read(oid);
    if (existing === undefined) return;
    if (!isPromise(existing)) return compareWithExisting(oid, kind, data, existing);
    const kept = Buffer.from(data);
    const late = existing.then((found) => {
      if (found !== undefined) compareWithExisting(oid, kind, kept, found);
    });
    // It is awaited in `settle`; until then its failure is not unhandled.
    late.catch(() => undefined);
    this.#late.push(late);
  }

  /** The object itself, for callers that compare in pieces. */
  async read(oids: Uint8Array, at: number): Promise<GitObject | undefined> {
    return this.#reader.read(this.#hex(oids, at));
  }

  /** Waits for the comparisons that could not be made at once. @throws as `compare` */
  async settle(): Promise<void> {
    await Promise.all(this.#late.splice(0));
  }

  #hex(oids: Uint8Array, at: number): ObjectId {
    return objectIdAt(Buffer.from(oids.buffer, oids.byteOffset, oids.length), at, this.#reader.objectFormat);
  }

  #isLoose(oids: Uint8Array, at: number): boolean {
    const h = this.#hashBytes;
    let low = 0;
    let high = this.#loose.length / h;
    while (low < high) {
      const middle = (low + high) >>> 1;
      let i = 0;
      while (i < h && this.#loose[middle * h + i] === oids[at + i]) i++;
      if (i === h) return true;
      if ((this.#loose[middle * h + i] as number) < (oids[at + i] as number)) low = middle + 1;
      else high = middle;
    }
    return false;
  }
}
