/** How long a process that ended waits before it is started again: twice as long each time, up to a bound. */
const FIRST_MS = 1000;
const MOST_MS = 300_000;
/** Whoever ran for so long has begun well: the next end counts as the first. */
export const STEADY_MS = 60_000;

/** @param ends in a row, 1 for the first */
export function restartDelayMs(ends: number): number {
  return Math.min(MOST_MS, FIRST_MS * 2 ** Math.min(30, Math.max(0, ends - 1)));
}
