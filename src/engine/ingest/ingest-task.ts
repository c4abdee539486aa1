/** What the workers of one ingest are asked to do (`ingest-worker.ts`), and what they answer. */
import type { ByteRangeDescriptor } from "../../base/byte-range.js";
import type { Limits } from "../../base/limits.js";
import type { ObjectId } from "../../object/object-id.js";
import type { ObjectReaderDescriptor } from "../../storage/contracts/object-reader.js";
import type { DeltaForest } from "./delta-forest.js";
import type { EntryTable } from "./entry-table.js";
import type { Examined, ExamineOptions, LinkList } from "./object-examiner.js";
import type { ScannedRange, ScanRangeOptions } from "./scan-range.js";

/** Part of every task. */
export interface IngestContext extends ExamineOptions {
  readonly limits: Limits;
  /** The pack as far as it has arrived. */
  readonly spool: ByteRangeDescriptor;
  /** The repository's own objects. */
  readonly objects: ObjectReaderDescriptor;
  /** Raw ids of its loose objects, sorted. */
  readonly loose: Uint8Array<SharedArrayBuffer>;
}

/** First pass: whole entries from an offset on. */
export interface ScanTask {
  readonly do: "scan";
  readonly context: IngestContext;
  readonly range: Pick<ScanRangeOptions, "from" | "entriesMax" | "bytesMax">;
}
export type ScanAnswer = ScannedRange;

/** Between the passes: which delta builds on what. Fills in `table.bases` of REF_DELTA entries. */
export interface ForestTask {
  readonly do: "forest";
  readonly context: IngestContext;
  readonly table: EntryTable;
  readonly count: number;
  /** Raw ids that the REF_DELTA entries name, in their order. */
  readonly baseOids: Uint8Array;
}
export type ForestAnswer = DeltaForest;

/** Second pass: families until none is left or the time is up. Several workers share `counters`. */
export interface ResolveTask {
  readonly do: "resolve";
  readonly context: IngestContext;
  readonly table: EntryTable;
  readonly forest: DeltaForest;
  readonly counters: Int32Array<SharedArrayBuffer>;
  readonly sliceMs: number;
}
export interface ResolveAnswer {
  /** No family is left. */
  readonly done: boolean;
  readonly found: Examined;
}

/** After the passes: is everything resolved, and which external bases must be added? */
export interface SettleTask {
  readonly do: "settle";
  readonly table: EntryTable;
  readonly forest: DeltaForest;
}
export interface SettleAnswer {
  readonly unresolvedCount: number;
  /** An id among those that are missing. */
  readonly missingBaseOid: ObjectId | undefined;
  /** Numbers of the external bases that no entry of the pack stands for. */
  readonly missing: readonly number[];
}

/** Entries for external bases, from the first number on as many as fit the size. */
export interface EncodeTask {
  readonly do: "encode";
  readonly context: IngestContext;
  readonly oids: readonly ObjectId[];
  readonly bytesMax: number;
}
export interface EncodeAnswer {
  /** The entries, one after the other. */
  readonly bytes: Uint8Array;
  readonly sizes: readonly number[];
  readonly crc32s: readonly number[];
}

/** Hash of the spool with another head. */
export interface TrailerTask {
  readonly do: "trailer";
  readonly context: IngestContext;
  readonly head: Uint8Array;
}
export type TrailerAnswer = string;

export interface IndexTask {
  readonly do: "index";
  readonly table: EntryTable;
  /** Entries that the peer sent. */
  readonly count: number;
  /** Entries for external bases behind them. */
  readonly added: {
    readonly oids: Uint8Array;
    readonly offsets: readonly number[];
    readonly crc32s: readonly number[];
  };
  readonly externalBases: LinkList;
  readonly links: readonly LinkList[];
  readonly trailer: string;
  readonly packSizeBytes: number;
}
export interface IndexAnswer {
  readonly index: SharedArrayBuffer;
  readonly reverseIndex: Uint8Array;
  readonly external: LinkList;
  /** See `SentEntries`. */
  readonly roots: readonly ObjectId[] | undefined;
  /** The first id that stands in the pack more than once. */
  readonly duplicate: ObjectId | undefined;
}

export type IngestTask =
  | ScanTask
  | ForestTask
  | ResolveTask
  | SettleTask
  | EncodeTask
  | TrailerTask
  | IndexTask;
