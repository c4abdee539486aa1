/**
 * What the checks of a push have shown about its pack. It is true of the objects themselves, whatever refs name them and
 * in whichever repository they are: who may have `roots` may have all of the pack, and who has `grounds` (with all
 * that they lead to) lacks nothing of what `roots` lead to once they have the pack's entries, bases of deltas included.
 */
import type { ObjectId } from "../object/object-id.js";

export interface RecordedPush {
  /** Objects of the pack that none of its others refers to: they lead to all that was sent. */
  readonly roots: readonly ObjectId[];
  /**
   * Commits and tags outside of the pack that its objects refer to. Every tree and blob that they refer to or that their
   * deltas stand on is in the trees of these commits.
   */
  readonly grounds: readonly ObjectId[];
  /** Entries that were sent: bases that completed a thin pack stand behind them and do not count. */
  readonly sentCount: number;
  /** How many of them are deltas. */
  readonly sentDeltas: number;
  /** Where in the pack they end. */
  readonly sentEnd: number;
}

/** Of a push with more nothing is recorded. */
export const RECORDED_ROOTS_MAX = 16;
export const RECORDED_GROUNDS_MAX = 32;
