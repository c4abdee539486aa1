/**
 * Replacing many packs by one, where a backend keeps packs. What is to be folded, and into what, is the engine's
 * business (`engine/maintenance/`); here is what only the backend knows: which packs may go, who else is at work,
 * and how one set of packs takes the place of another under the eyes of readers.
 */
import type { Pack } from "../../pack/pack.js";
import type { PackSink } from "./quarantine.js";

export interface PackMaintenance {
  /** How many packs could be folded. Cheap: it is asked after every push. @throws storage/io */
  countFoldable(): Promise<number>;
  /**
   * Begins work on the packs; the caller releases it in any case. undefined: somebody else is at work on them.
   * @throws storage/io, storage/not-found
   */
  begin(): Promise<PackReplacement | undefined>;
}

/** One piece of work on the packs of a repository, with nobody beside it who keeps to the same lock. */
export interface PackReplacement {
  /** Packs that may be folded, most recently written first; open until `release`. */
  readonly packs: readonly Pack[];
  /** The pack that shall take their place. */
  createPack(): Promise<PackSink>;
  /**
   * Makes what was created durable, then visible, and then removes these packs; those that somebody marked to be kept
   * or named elsewhere meanwhile stay. The caller has made sure that each of their objects is in the new pack.
   * @returns false when one of them has gone meanwhile; then nothing was changed
   * @throws storage/io, storage/not-found
   */
  replace(packs: readonly Pack[]): Promise<boolean>;
  /** Removes what was created and not put in place. Idempotent. */
  release(): Promise<void>;
}
