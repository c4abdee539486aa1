/**
 * A pack with its index: reading objects out of it, chains of deltas resolved.
 * Specification: gitformat-pack. Nothing here writes.
 */
import { LRUCache } from "lru-cache";
import type { ByteRange } from "../base/byte-range.js";
import { GitwharfError, isGitwharfError } from "../base/errors.js";
import { isPromise, type MaybePromise } from "../base/maybe-promise.js";
import type { ObjectFormat } from "../object/object-format.js";
import type { ObjectId, ObjectType } from "../object/object-id.js";
import type { PackBitmap } from "./bitmap.js";
import { applyDelta, deltaSizes } from "./delta.js";
import { ENTRY_HEADER_BYTES_MAX, type EntryHeader, objectTypeOf, parseEntryHeader } from "./entry-header.js";
import { inflatePrefix, tryInflateAt } from "./inflate.js";
import type { PackIndex } from "./pack-index.js";
import { PackOffsets } from "./reverse-index.js";

export interface PackedObject {
  readonly type: ObjectType;
  /** Shared with caches: nobody changes it. */
  readonly data: Buffer;
}

/** Finds objects outside of the pack: bases of a thin pack, or of REF_DELTA entries. */
export type ExternalObjects = (oid: ObjectId) => MaybePromise<PackedObject | undefined>;

export interface PackOptions {
  /** Two packs of the same key hold the same bytes. */
  readonly key: string;
  /** `pack-<hex>`, without ending. @default the trailer's name */
  readonly name?: string;
  readonly index: PackIndex;
  readonly bytes: ByteRange;
  readonly openBitmap?: () => Promise<PackBitmap | undefined>;
}

/** Resolved objects that were bases of deltas; all packs of the thread together. */
const bases = new LRUCache<number | string, PackedObject>({
  maxSize: 96 * 1024 * 1024,
  maxEntrySize: 16 * 1024 * 1024,
  sizeCalculation: (object) => object.data.length + 128,
});

let serials = 0;
/** Most entries and their heads are found in one read of this size. */
const FIRST_READ_BYTES = 4096;

interface Walk {
  offset: number;
  /** How much to read at `offset`. */
  length: number;
  /** Deltas met so far, the last one nearest to the base, with the offsets of their entries. */
  readonly deltas: Buffer[];
  readonly offsets: number[];
}

export class Pack {
  readonly key: string;
  readonly name: string;
  readonly index: PackIndex;
  readonly bytes: ByteRange;
  readonly objectFormat: ObjectFormat;
  readonly #serial = serials++;
  readonly #openBitmap: (() => Promise<PackBitmap | undefined>) | undefined;
  #bitmap: Promise<PackBitmap | undefined> | undefined;
  #offsets: PackOffsets | undefined;

  constructor(options: PackOptions) {
    this.key = options.key;
    this.index = options.index;
    this.name = options.name ?? `pack-${options.index.packTrailer}`;
    this.bytes = options.bytes;
    this.objectFormat = options.index.objectFormat;
    this.#openBitmap = options.openBitmap;
  }

  get objectCount(): number {
    return this.index.objectCount;
  }

  /** Built on first use: 12 bytes an object. */
  get offsets(): PackOffsets {
    this.#offsets ??= PackOffsets.of(this.index, this.bytes.sizeBytes);
    return this.#offsets;
  }

  openBitmap(): Promise<PackBitmap | undefined> {
    this.#bitmap ??= this.#openBitmap?.() ?? Promise.resolve(undefined);
    return this.#bitmap;
  }

  /** @throws object/corrupt, storage/io */
  readEntryHeader(offset: number): MaybePromise<EntryHeader> {
    const bytes = this.bytes.read(offset, ENTRY_HEADER_BYTES_MAX);
    return isPromise(bytes) ? bytes.then((b) => this.#header(b, offset)) : this.#header(bytes, offset);
  }

  /**
   * @param position in the index
   * @throws object/corrupt when the entry cannot be read, storage/io
   */
  readObject(position: number, external?: ExternalObjects): MaybePromise<PackedObject> {
    const walk: Walk = {
      offset: this.index.offsetAt(position),
      length: FIRST_READ_BYTES,
      deltas: [],
      offsets: [],
    };
    return this.#resolve(walk, undefined, external);
  }

  /** Type and size without inflating the content: only the heads of the chain and the beginning of one delta are read. */
  readObjectHeader(
    position: number,
    external?: ExternalObjects,
  ): MaybePromise<{ readonly type: ObjectType; readonly sizeBytes: number }> {
    return this.#resolveHeader(this.index.offsetAt(position), undefined, 0, external);
  }

  #key(offset: number): number | string {
    return this.#serial < 4096 ? this.#serial * 2 ** 41 + offset : `${this.#serial}:${offset}`;
  }

  #resolve(
    walk: Walk,
    given: Buffer | undefined,
    external: ExternalObjects | undefined,
  ): MaybePromise<PackedObject> {
    let bytes: MaybePromise<Buffer> | undefined = given;
    for (;;) {
      const cached = bytes === undefined ? bases.get(this.#key(walk.offset)) : undefined;
      if (cached !== undefined) return this.#apply(walk, cached);
      bytes ??= this.bytes.read(walk.offset, walk.length);
      if (isPromise(bytes)) return bytes.then((b) => this.#resolve(walk, b, external));
      const header = this.#header(bytes, walk.offset);
      const inflated = this.#inflate(bytes, header, walk.offset);
      if (inflated === undefined) {
        const bound = header.headerLength + compressedBound(header.sizeBytes);
        walk.length = walk.length < bound ? bound : walk.length * 2;
        bytes = undefined;
        continue;
      }
      const type = objectTypeOf(header.type);
      if (type !== undefined) {
        const object = { type, data: inflated };
        if (walk.deltas.length > 0) bases.set(this.#key(walk.offset), object);
        return this.#apply(walk, object);
      }
      walk.deltas.push(inflated);
      walk.offsets.push(walk.offset);
      const base = this.#baseOffset(header, walk.offset);
      if (base === undefined) return this.#applyExternal(walk, header.baseOid ?? "", external);
      if (walk.deltas.length > this.index.objectCount)
        throw this.#corrupt(walk.offset, "its deltas run in a circle");
      walk.offset = base;
      walk.length = FIRST_READ_BYTES;
      bytes = undefined;
    }
  }

  #apply(walk: Walk, base: PackedObject): PackedObject {
    let object = base;
    for (let i = walk.deltas.length - 1; i >= 0; i--) {
      const offset = walk.offsets[i] as number;
      try {
        object = { type: base.type, data: applyDelta(object.data, walk.deltas[i] as Buffer) };
      } catch (cause) {
        throw this.#corrupt(offset, cause instanceof Error ? cause.message : "its delta is malformed", cause);
      }
      if (i > 0) bases.set(this.#key(offset), object);
    }
    return object;
  }

  #applyExternal(
    walk: Walk,
    oid: ObjectId,
    external: ExternalObjects | undefined,
  ): MaybePromise<PackedObject> {
    const use = (base: PackedObject | undefined): PackedObject => {
      if (base === undefined) throw this.#corrupt(walk.offset, `its base ${oid} is missing`);
      return this.#apply(walk, base);
    };
    const base = external?.(oid);
    return isPromise(base) ? base.then(use) : use(base);
  }

  #resolveHeader(
    start: number,
    known: number | undefined,
    depth: number,
    external: ExternalObjects | undefined,
  ): MaybePromise<{ readonly type: ObjectType; readonly sizeBytes: number }> {
    let offset = start;
    let sizeBytes = known;
    for (let steps = depth; ; steps++) {
      const bytes = this.bytes.read(offset, 256);
      const settled = isPromise(bytes) ? undefined : this.#stepHeader(bytes, offset, sizeBytes);
      if (isPromise(bytes)) {
        const at = offset;
        const size = sizeBytes;
        return bytes.then((b) => {
          const step = this.#stepHeader(b, at, size);
          return "type" in step ? step : this.#followHeader(step, at, steps, external);
        });
      }
      if (settled === undefined || "type" in settled)
        return settled as { type: ObjectType; sizeBytes: number };
      if (settled.base === undefined || steps > this.index.objectCount) {
        return this.#followHeader(settled, offset, steps, external);
      }
      offset = settled.base;
      sizeBytes = settled.sizeBytes;
    }
  }

  #followHeader(
    step: { readonly base: number | undefined; readonly baseOid: ObjectId; readonly sizeBytes: number },
    offset: number,
    steps: number,
    external: ExternalObjects | undefined,
  ): MaybePromise<{ readonly type: ObjectType; readonly sizeBytes: number }> {
    if (steps > this.index.objectCount) throw this.#corrupt(offset, "its deltas run in a circle");
    if (step.base !== undefined) return this.#resolveHeader(step.base, step.sizeBytes, steps + 1, external);
    const use = (base: PackedObject | undefined): { type: ObjectType; sizeBytes: number } => {
      if (base === undefined) throw this.#corrupt(offset, `its base ${step.baseOid} is missing`);
      return { type: base.type, sizeBytes: step.sizeBytes };
    };
    const base = external?.(step.baseOid);
    return isPromise(base) ? base.then(use) : use(base);
  }

  #stepHeader(
    bytes: Buffer,
    offset: number,
    known: number | undefined,
  ):
    | { readonly type: ObjectType; readonly sizeBytes: number }
    | { readonly base: number | undefined; readonly baseOid: ObjectId; readonly sizeBytes: number } {
    const header = this.#header(bytes, offset);
    const type = objectTypeOf(header.type);
    if (type !== undefined) return { type, sizeBytes: known ?? header.sizeBytes };
    let sizeBytes = known;
    if (sizeBytes === undefined) {
      try {
        sizeBytes = deltaSizes(inflatePrefix(bytes, header.headerLength, 20)).resultSizeBytes;
      } catch (cause) {
        throw this.#corrupt(offset, "its delta is malformed", cause);
      }
    }
    return { base: this.#baseOffset(header, offset), baseOid: header.baseOid ?? "", sizeBytes };
  }

  #header(bytes: Buffer, offset: number): EntryHeader {
    let header: EntryHeader | undefined;
    try {
      header = parseEntryHeader(bytes, 0, this.objectFormat);
    } catch (cause) {
      throw this.#corrupt(offset, "its head is malformed", cause);
    }
    if (header === undefined) throw this.#corrupt(offset, "the pack ends in its head");
    return header;
  }

  /** undefined: more bytes are needed. */
  #inflate(bytes: Buffer, header: EntryHeader, offset: number): Buffer | undefined {
    try {
      const inflated = tryInflateAt(bytes, header.headerLength, header.sizeBytes);
      if (inflated !== "short") return inflated.data;
    } catch (cause) {
      throw this.#corrupt(offset, "its compressed data is malformed", cause);
    }
    if (offset + bytes.length >= this.bytes.sizeBytes) throw this.#corrupt(offset, "the pack ends in it");
    return undefined;
  }

  /** Of a delta; undefined when its base is outside of the pack. */
  #baseOffset(header: EntryHeader, offset: number): number | undefined {
    if (header.baseOffsetDistance !== undefined) {
      const base = offset - header.baseOffsetDistance;
      if (header.baseOffsetDistance === 0 || base < 12)
        throw this.#corrupt(offset, "its base is outside of the pack");
      return base;
    }
    const position = this.index.find(header.baseOid ?? "");
    return position < 0 ? undefined : this.index.offsetAt(position);
  }

  #corrupt(offset: number, why: string, cause?: unknown): GitwharfError {
    if (isGitwharfError(cause, "storage/io")) return cause;
    return new GitwharfError(
      "object/corrupt",
      `the entry at ${offset} of ${this.name} cannot be read: ${why}`,
      {
        cause,
        details: { pack: this.key, offset },
      },
    );
  }
}

/** The most that deflate makes of so many bytes, as zlib's own deflateBound has it for any settings. */
function compressedBound(sizeBytes: number): number {
  return sizeBytes + Math.ceil(sizeBytes / 8) + Math.ceil(sizeBytes / 64) + 32;
}
