/**
 * When a server collects garbage by itself: often enough that fetches find most of what they want in one pack, and seldom enough
 * that all collections together write no more than a few times what was pushed.
 */
import type { PackSurvey } from "../../storage/contracts/pack-maintenance.js";

/** Of all bytes so many lie outside of what the last collection wrote. */
const DRIFT_MIN = 1 / 3;
/** That much is worth a collection however few packs it is in. */
const NEW_BYTES_MIN = 16 * 1024 * 1024;

export interface DueOptions {
  /** More new packs than this are worth one however small they are. */
  readonly packLimit: number;
  /** How long unreachable objects are kept. */
  readonly graceMs: number;
}

/** `when quiet`: once nobody has pushed for a while. What was pushed just now is often followed by more, or fetched as it was pushed. */
export type CollectionDue = "now" | "when quiet" | "not yet";

export function collectionDue(survey: PackSurvey, options: DueOptions): CollectionDue {
  const { newPacks, newBytes, bytes, unreachableForMs } = survey;
  const { packLimit, graceMs } = options;
  if (unreachableForMs !== undefined && unreachableForMs >= graceMs) return "now";
  if (newBytes < bytes * DRIFT_MIN) return "not yet";
  if (newPacks > packLimit) return "now";
  return newBytes >= NEW_BYTES_MIN ? "when quiet" : "not yet";
}
