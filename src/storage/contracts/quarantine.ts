/**
 * Where a push's objects live until the push is accepted: readable with the repository's own objects behind them,
 * invisible to everyone else, gone without a trace when discarded.
 */
import type { ByteRange } from "../../base/byte-range.js";
import type { ObjectId } from "../../object/object-id.js";
import type { Pack } from "../../pack/pack.js";
import type { RecordedPush } from "../../pack/recorded-push.js";
import type { ObjectReader } from "./object-reader.js";

export interface Quarantine {
  /** The repository's objects and those finished here. */
  readonly objects: ObjectReader;
  /** Only the packs that were finished here. */
  readonly packs: readonly Pack[];
  /**
   * A directory in git's layout (`pack/` inside) where the backend has one: GIT_QUARANTINE_PATH for hooks. It is made
   * with the first file: undefined before, and once the objects are published.
   */
  readonly directory?: string | undefined;

  createPack(): Promise<PackSink>;
  /** Commits to add to the repository's `shallow` list on publish (shallow push). */
  addShallow(oids: readonly ObjectId[]): void;
  /** Commits to take off that list on publish: their parents are here, or come with the quarantine. */
  removeShallow(oids: readonly ObjectId[]): void;
  /** Of a pack that was finished here: for a backend that can keep it with the pack. Before `publish`. */
  recordPush?(pack: Pack, record: RecordedPush): void;
  /**
   * Makes the objects durable (fsync of files and directories on disk), then visible. Only then may refs move.
   * @throws storage/io, storage/not-found when the repository was deleted meanwhile
   */
  publish(): Promise<void>;
  /**
   * Removes everything not published. Idempotent. To be called in any case: after `publish` when the refs have moved,
   * because until then a backend keeps the objects that no ref names from its garbage collection.
   */
  discard(): Promise<void>;
}

/** One pack under construction: appended in order, readable at once by offset, its head rewritten at the end. */
export interface PackSink {
  readonly sizeBytes: number;
  /** Appends; the caller may reuse the bytes once the promise resolves. */
  append(bytes: Uint8Array): Promise<void>;
  /** Overwrites bytes that were appended (object count of a completed thin pack). */
  overwrite(offset: number, bytes: Uint8Array): Promise<void>;
  /** Cuts the end off (the trailer of a thin pack before it is completed). */
  truncate(sizeBytes: number): Promise<void>;
  /** Everything appended so far; `describe()` works while the sink or its pack is open. */
  range(): ByteRange;
  /**
   * Names the pack after its trailer, stores the index beside it, and adds it to the quarantine.
   * @param files.index idx v2 bytes; the sink takes ownership
   * @param files.trailer the pack's own checksum in hex
   * @param files.mtimes what makes it a pack of unreachable objects (`pack/pack-mtimes.ts`), where packs can be that
   */
  finish(files: {
    readonly trailer: string;
    readonly index: SharedArrayBuffer;
    readonly reverseIndex?: Uint8Array;
    readonly mtimes?: Uint8Array;
  }): Promise<Pack>;
  /** Drops it. Idempotent. */
  abort(): Promise<void>;
}
