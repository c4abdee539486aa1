/**
 * A pack with its index: reading objects out of it, chains of deltas resolved.
 * Specification: gitformat-pack. Nothing here writes.
 */
import type { ByteRange } from "../base/byte-range.js";
import { isPromise, type MaybePromise, runSteps, type Steps } from "../base/maybe-promise.js";
import type { ObjectFormat } from "../object/object-format.js";
import { PackBitmap } from "./bitmap.js";
import { readChain } from "./delta-chain.js";
import { ENTRY_HEADER_BYTES_MAX, type EntryHeader } from "./entry-header.js";
import { readChainHeader, readResidentHeader } from "./object-header.js";
import type { PackIndex } from "./pack-index.js";
import {
  entryHeaderAt,
  type EntrySource,
  type ExternalObjects,
  type PackedObject,
  type PackedObjectHeader,
} from "./packed-entry.js";
import { readResident } from "./resident-object.js";
import type { RecordedPush } from "./recorded-push.js";
import { PackOffsets, reverseIndexBytes } from "./reverse-index.js";

export type { ExternalObjects, PackedObject, PackedObjectHeader } from "./packed-entry.js";

export interface PackOptions {
  /** Two packs of the same key hold the same bytes. */
  readonly key: string;
  /** `pack-<hex>`, without ending. @default the trailer's name */
  readonly name?: string;
  readonly index: PackIndex;
  readonly bytes: ByteRange;
  readonly openBitmap?: () => Promise<PackBitmap | undefined>;
  /** The pack's `.rev` file, if it has one: asked once at most. */
  readonly readReverseIndex?: () => Buffer | undefined;
  /** What else belongs to it, in memory. */
  readonly beside?: PackBeside | undefined;
  readonly recordedPush?: RecordedPush | undefined;
}

/** Content of a `.rev` and a `.bitmap`. What does not fit the index counts for nothing. */
export interface PackBeside {
  readonly reverseIndex?: SharedArrayBuffer;
  readonly bitmap?: SharedArrayBuffer;
}

let packs = 0;
/** How often bytes are waited for before the way that waits by itself is taken. */
const WAITS_MAX = 8;

/**
 * Reads are answered at once when the bytes are resident. Resolved bases are cached, 32 MiB for all packs of a
 * thread together. An entry that cannot be read is object/corrupt, whatever is wrong with it.
 */
export class Pack implements EntrySource {
  readonly number = packs++;
  readonly key: string;
  readonly name: string;
  readonly index: PackIndex;
  readonly bytes: ByteRange;
  readonly objectFormat: ObjectFormat;
  /** Where it was kept with the pack. */
  readonly recordedPush: RecordedPush | undefined;
  readonly beside: PackBeside | undefined;
  readonly #openBitmap: (() => Promise<PackBitmap | undefined>) | undefined;
  readonly #readReverseIndex: (() => Buffer | undefined) | undefined;
  #bitmap: Promise<PackBitmap | undefined> | undefined;
  #offsets: PackOffsets | undefined;

  constructor(options: PackOptions) {
    this.key = options.key;
    this.index = options.index;
    this.name = options.name ?? `pack-${options.index.packTrailer}`;
    this.bytes = options.bytes;
    this.recordedPush = options.recordedPush;
    this.objectFormat = options.index.objectFormat;
    this.beside = options.beside;
    this.#openBitmap = options.openBitmap ?? (async () => bitmapBeside(this));
    this.#readReverseIndex = options.readReverseIndex ?? (() => reverseIndexBeside(this));
  }

  get objectCount(): number {
    return this.index.objectCount;
  }

  /** Built on first use: 12 bytes an object. */
  get offsets(): PackOffsets {
    this.#offsets ??= PackOffsets.of(this.index, this.bytes.sizeBytes, this.#readReverseIndex?.());
    return this.#offsets;
  }

  openBitmap(): Promise<PackBitmap | undefined> {
    this.#bitmap ??= this.#openBitmap?.() ?? Promise.resolve(undefined);
    return this.#bitmap;
  }

  /** @throws object/corrupt, storage/io */
  readEntryHeader(offset: number): MaybePromise<EntryHeader> {
    const bytes = this.bytes.read(offset, ENTRY_HEADER_BYTES_MAX);
    return isPromise(bytes)
      ? bytes.then((b) => entryHeaderAt(this, b, offset))
      : entryHeaderAt(this, bytes, offset);
  }

  /**
   * @param position in the index
   * @param external where bases are looked for that are not in the pack
   * @throws object/corrupt when the entry cannot be read, storage/io
   */
  readObject(position: number, external?: ExternalObjects): MaybePromise<PackedObject> {
    const offset = this.index.offsetAt(position);
    const object = readResident(this, offset);
    if (object !== undefined && !isPromise(object)) return object;
    if (object === undefined) return runSteps(readChain(this, offset, external));
    return whenResident(
      object,
      () => readResident(this, offset),
      () => readChain(this, offset, external),
    );
  }

  /** Type and size without inflating the content: only the heads of the chain and the beginning of one delta are read. */
  readObjectHeader(position: number, external?: ExternalObjects): MaybePromise<PackedObjectHeader> {
    const offset = this.index.offsetAt(position);
    const header = readResidentHeader(this, offset);
    if (header !== undefined && !isPromise(header)) return header;
    if (header === undefined) return runSteps(readChainHeader(this, offset, external));
    return whenResident(
      header,
      () => readResidentHeader(this, offset),
      () => readChainHeader(this, offset, external),
    );
  }
}

function bitmapBeside({ beside, index }: Pack): PackBitmap | undefined {
  if (beside?.bitmap === undefined) return undefined;
  try {
    return PackBitmap.parse(Buffer.from(beside.bitmap), index);
  } catch {
    return undefined;
  }
}

function reverseIndexBeside({ beside, index }: Pack): Buffer | undefined {
  const bytes = beside?.reverseIndex;
  return bytes?.byteLength === reverseIndexBytes(index) ? Buffer.from(bytes) : undefined;
}

/** Waits for bytes and tries again; when they never are all there together, waits step by step. */
async function whenResident<T extends object>(
  first: Promise<unknown>,
  attempt: () => T | Promise<unknown> | undefined,
  wait: () => Steps<T>,
): Promise<T> {
  let pending = first;
  for (let waits = 0; waits < WAITS_MAX; waits++) {
    await pending;
    const found = attempt();
    if (found === undefined) return runSteps(wait());
    if (!isPromise(found)) return found;
    pending = found;
  }
  await pending;
  return runSteps(wait());
}
