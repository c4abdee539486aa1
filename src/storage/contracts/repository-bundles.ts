/**
 * Bundles (refs and a pack in one file) that are kept with a repository for clients that begin a clone with one. They are
 * copies: one that goes is missed by nobody.
 */
import type { ObjectId } from "../../object/object-id.js";

export interface RepositoryBundles {
  /** The newest that is kept. @throws storage/io, storage/not-found */
  find(): Promise<StoredBundle | undefined>;
  /**
   * Keeps the one that `write` answers with, unless somebody else is making one at the time, or it answers with none.
   * @returns whether one was made. @throws storage/io, storage/not-found, and what `write` throws
   */
  make(write: () => Promise<NewBundle | undefined>, signal?: AbortSignal): Promise<boolean>;
}

export interface BundleRef {
  readonly name: string;
  readonly oid: ObjectId;
}

export interface NewBundle {
  /** As its head has them. */
  readonly refs: readonly BundleRef[];
  /** Of all packs when it was made: by this it is told how old it is. */
  readonly packsBytes: number;
  /** Read once, or left. */
  readonly bytes: AsyncIterable<Uint8Array>;
}

export interface StoredBundle extends Omit<NewBundle, "bytes"> {
  /** Of letters, digits and dashes. */
  readonly id: string;
  readonly sizeBytes: number;
  /**
   * Somebody may have it: it is kept for some hours from now on at least. One of which nobody says so goes some time.
   * @returns false: it has gone. @throws storage/io
   */
  hold(): Promise<boolean>;
  /** An address from which it may be had without credentials for a while. Absent where storage answers nobody but us. */
  presign?(expiresSeconds: number): Promise<string>;
  /** Bytes [start, end). @throws storage/io */
  read(range: { readonly start: number; readonly end: number }): AsyncIterable<Uint8Array>;
}
