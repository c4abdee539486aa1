/**
 * Keeping what is made of objects so that they are read more quickly: a commit-graph of the repository and the bitmap of a
 * pack. What stands in them is the engine's business (`engine/maintenance/`); nothing is lost without them.
 */
import type { Pack } from "../../pack/pack.js";

export interface SideFileStore {
  /**
   * Begins work; the caller releases it in any case. undefined: somebody else looks after the repository just now.
   * @throws storage/io, storage/not-found
   */
  begin(): Promise<SideFileWork | undefined>;
}

export interface SideFileWork {
  /** Why a commit-graph would not be used or would be wrong here; undefined: one may be written. */
  readonly graphHindrance: string | undefined;
  /** Checksums of the layers of the commit-graph that stands there, base layer first; of a single file its own. */
  readonly graphLayers: readonly string[];
  /** The largest pack, open until `release`, when no pack of the repository has a bitmap and it could have one. */
  readonly packWithoutBitmap: Pack | undefined;
  /**
   * Each takes the place of what stands there, at once and whole.
   * @returns false when another program is about to write the same, or the pack has gone meanwhile
   * @throws storage/io, storage/not-found
   */
  writeCommitGraph(bytes: SharedArrayBuffer): Promise<boolean>;
  /**
   * Upon layers that stand there: those above them go. The checksum is its own.
   * @returns false also when other layers stand there by now
   */
  writeCommitGraphLayer(layer: {
    readonly bytes: SharedArrayBuffer;
    readonly checksum: string;
    readonly upon: readonly string[];
  }): Promise<boolean>;
  writeBitmap(pack: Pack, bytes: Uint8Array): Promise<boolean>;
  /** Idempotent. */
  release(): Promise<void>;
}
