/**
 * Keeping an index over the packs of a repository together, and its bitmaps. What stands in them is the engine's business
 * (`engine/maintenance/`); nothing is lost without them.
 */
import type { Pack } from "../../pack/pack.js";

export interface MultiPackIndexStore {
  /**
   * Begins work; the caller releases it in any case. undefined: somebody else looks after the repository just now.
   * @throws storage/io, storage/not-found
   */
  begin(): Promise<MultiPackIndexWork | undefined>;
}

export interface PackToIndex {
  readonly pack: Pack;
  /** When it was written, in whole seconds. */
  readonly modifiedSeconds: number;
}

export interface MultiPackIndexWork {
  /** Why none would be right here; undefined: one may be written. */
  readonly hindrance: string | undefined;
  /** Why bitmaps over these packs would not be. */
  readonly bitmapHindrance: string | undefined;
  /** Those that it is to be of, open until `release`. */
  readonly packs: readonly PackToIndex[];
  /** What stands there; undefined: nothing that could be read. */
  readonly current: { readonly listsAll: boolean; readonly hasBitmap: boolean } | undefined;
  /**
   * Takes the place of what stands there, at once and whole, bitmaps included.
   * @returns false when another program is about to write one, or a pack has gone meanwhile
   * @throws storage/io, storage/not-found
   */
  write(made: {
    readonly bytes: SharedArrayBuffer;
    /** Its own. */
    readonly checksum: string;
    readonly bitmap: Uint8Array | undefined;
  }): Promise<boolean>;
  /** Removes what stands there. @returns false when another program is about to write one. @throws storage/io */
  remove(): Promise<boolean>;
  /** Idempotent. */
  release(): Promise<void>;
}
