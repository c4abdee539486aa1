/**
 * Reading the objects of a repository: the same interface over disk, memory, a quarantine and (later) a bucket.
 * The one implementation that a backend composes is `storage/object-database.ts`.
 */
import type { ByteRangeDescriptor } from "../../base/byte-range.js";
import type { MaybePromise } from "../../base/maybe-promise.js";
import type { ObjectFormat } from "../../object/object-format.js";
import type { ObjectId, ObjectType } from "../../object/object-id.js";
import type { PackBitmap } from "../../pack/bitmap.js";
import type { CommitGraph } from "../../pack/commit-graph.js";
import type { MultiPackIndex } from "../../pack/multi-pack-index.js";
import type { Pack, PackBeside } from "../../pack/pack.js";

export interface GitObject {
  readonly type: ObjectType;
  /** Inflated content. Borrowed and shared with caches: nobody changes it. */
  readonly data: Buffer;
}

export interface ObjectHeader {
  readonly type: ObjectType;
  /** Inflated size in bytes. */
  readonly sizeBytes: number;
}

export interface PackLocation {
  readonly pack: Pack;
  /** Position in the pack's index (oid order), 0-based. */
  readonly position: number;
}

/** The bitmaps of a multi-pack-index. */
export interface MultiPackBitmap {
  readonly index: MultiPackIndex;
  /** That it names, by their numbers. */
  readonly packs: readonly Pack[];
  readonly bitmap: PackBitmap;
}

export interface ObjectReader {
  readonly objectFormat: ObjectFormat;

  /** undefined when absent. @throws object/corrupt when present but unreadable, storage/io */
  read(oid: ObjectId): MaybePromise<GitObject | undefined>;
  /** Without inflating the content where that can be avoided. */
  readHeader(oid: ObjectId): MaybePromise<ObjectHeader | undefined>;
  has(oid: ObjectId): MaybePromise<boolean>;

  /** Every pack, most recently written first, alternates' packs last. An object may stand in several. */
  readonly packs: readonly Pack[];
  /** A pack that holds the object: which one, when it stands in several, may change. Packs' indexes are resident. */
  locate(oid: ObjectId): PackLocation | undefined;
  readonly commitGraph: CommitGraph | undefined;
  /** Bitmaps over many packs, all of which are among `packs`. Absent where there are none ever. */
  openMultiPackBitmap?(): Promise<MultiPackBitmap | undefined>;
  /** Ids of loose objects (order undefined, duplicates possible with packs). Memory: one directory at a time. */
  looseObjects(): AsyncIterable<ObjectId>;

  /** A structured-cloneable description; `openObjectReader` opens the same objects in a worker thread. */
  describe(): ObjectReaderDescriptor;
}

/** Valid only while the snapshot (or quarantine) that it was taken from is not released. */
export interface ObjectReaderDescriptor {
  readonly objectFormat: ObjectFormat;
  readonly packs: readonly PackDescriptor[];
  /** `objects` directories whose two-digit subdirectories hold loose objects, in order of lookup. */
  readonly looseDirectories: readonly string[];
  /** commit-graph files, base layer first; empty when there is none. */
  readonly commitGraph: readonly SharedArrayBuffer[];
  readonly multiPackIndexes?: readonly MultiPackIndexDescriptor[];
}

export interface MultiPackIndexDescriptor {
  readonly bytes: SharedArrayBuffer;
  /** Keys of the packs that it names, by their numbers; null: not among `packs`. */
  readonly packKeys: readonly (string | null)[];
  /** Where its `.bitmap` stands if it has one. */
  readonly bitmapPath?: string;
}

export interface PackDescriptor {
  readonly key: string;
  /** `pack-<hex>`, as its files are called. */
  readonly name: string;
  readonly index: SharedArrayBuffer;
  readonly bytes: ByteRangeDescriptor;
  readonly beside?: PackBeside;
  /** Path of the `.bitmap` that goes with the pack, if there is one. */
  readonly bitmapPath?: string;
  /** Path of the `.rev` that goes with the pack; it may not be there. */
  readonly reverseIndexPath?: string;
}
