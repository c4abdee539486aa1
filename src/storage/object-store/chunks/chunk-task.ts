/** What workers do for blobs that become chunks: tasks of some ten milliseconds each, but for the layout of a pack with very many objects. */
import type { ByteRangeDescriptor } from "../../../base/byte-range.js";
import type { ObjectFormat } from "../../../object/object-format.js";

/** Bytes [start, end) of what was looked at. */
export interface CutChunk {
  readonly start: number;
  readonly end: number;
  readonly id: string;
  readonly adler32: number;
}

/** Where chunks end in bytes that begin with one. */
export interface CutTask {
  readonly do: "cut";
  readonly bytes: Uint8Array;
  /** The blob ends with them. */
  readonly isLast: boolean;
}

export interface StoreTask {
  readonly do: "store";
  readonly bytes: Uint8Array;
  readonly ranges: readonly { readonly start: number; readonly end: number }[];
}

/** Are kept chunks those that they are said to be? */
export interface CheckTask {
  readonly do: "check";
  readonly chunks: readonly {
    readonly stored: Uint8Array;
    readonly id: string;
    readonly sizeBytes: number;
  }[];
}

/** Which entries of a pack are long? Asked of packs with many objects. */
export interface FindTask {
  readonly do: "find";
  readonly objectFormat: ObjectFormat;
  readonly index: SharedArrayBuffer;
  readonly packBytes: number;
  readonly entryBytesMin: number;
}

export interface LongEntry {
  /** In the index. */
  readonly position: number;
  readonly offset: number;
  readonly end: number;
}

/** A pack in which other bytes take the place of some entries. */
export interface LayOutTask {
  readonly do: "lay out";
  readonly objectFormat: ObjectFormat;
  readonly index: SharedArrayBuffer;
  readonly pack: ByteRangeDescriptor;
  readonly replacements: readonly Replacement[];
}

/** The entry at an offset becomes bytes [start, end) of a file beside the pack. */
export interface Replacement {
  readonly offset: number;
  readonly start: number;
  readonly end: number;
  readonly crc32: number;
}

export interface PackLayout {
  /** By position in the index, which stays as it is. */
  readonly offsets: Float64Array;
  readonly crc32s: Uint32Array;
  /** What the new pack is made of, in order, without its trailer. */
  readonly pieces: readonly LayoutPiece[];
  /** Each counts from its place on to that of the next one. */
  readonly moves: readonly Move[];
}

/** An entry that stood at an offset, or the end of all, stands at another one. */
export interface Move {
  readonly from: number;
  readonly to: number;
}

export type LayoutPiece =
  | { readonly from: "pack" | "file"; readonly start: number; readonly end: number }
  | { readonly from: "bytes"; readonly bytes: Uint8Array };

export interface IndexTask {
  readonly do: "index";
  readonly objectFormat: ObjectFormat;
  /** Of the pack before. */
  readonly index: SharedArrayBuffer;
  readonly layout: Pick<PackLayout, "offsets" | "crc32s">;
  readonly trailer: string;
  readonly packBytes: number;
  /** Of the pack before, where it has one. */
  readonly bitmap: Uint8Array | undefined;
}

export interface IndexAnswer {
  readonly index: SharedArrayBuffer;
  readonly reverseIndex: Uint8Array;
  readonly bitmap: Uint8Array | undefined;
}

export type ChunkTask = CutTask | StoreTask | CheckTask | FindTask | LayOutTask | IndexTask;
