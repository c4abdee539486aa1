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

export function isCollectionDue(survey: PackSurvey, options: DueOptions): boolean {
  const { newPacks, newBytes, bytes, unreachableForMs } = survey;
  const { packLimit, graceMs } = options;
  if (unreachableForMs !== undefined && unreachableForMs >= graceMs) return true;
  const isWorthIt = newPacks > packLimit || newBytes >= NEW_BYTES_MIN;
  return isWorthIt && newBytes >= bytes * DRIFT_MIN;
}
