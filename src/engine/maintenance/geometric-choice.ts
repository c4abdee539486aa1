/**
 * Which packs to fold: the small ones, so that each pack that is left holds at least twice as many objects as all
 * smaller ones together. An object is then rewritten about log2(n) times in the life of a repository of n objects.
 * The outcome is that of `git repack --geometric=2`.
 */
const FACTOR = 2;

/**
 * @param objectCounts of each pack, in any order
 * @returns which of them to fold into one, in no order; empty when they stand well already
 */
export function chooseGeometrically(objectCounts: readonly number[]): number[] {
  const order = objectCounts.map((_, i) => i).sort((a, b) => countOf(a) - countOf(b));
  function countOf(i: number): number {
    // An empty pack is a pack.
    return Math.max(1, objectCounts[i] as number);
  }
  // The largest pack that is not twice as large as the next smaller one, and all below it.
  let folded = 0;
  for (let i = order.length - 1; i > 0 && folded === 0; i--) {
    if (countOf(order[i] as number) < FACTOR * countOf(order[i - 1] as number)) folded = i + 1;
  }
  let sum = 0;
  for (let i = 0; i < folded; i++) sum += countOf(order[i] as number);
  // What they make together may be too large for those above.
  while (folded > 0 && folded < order.length && countOf(order[folded] as number) < FACTOR * sum) {
    sum += countOf(order[folded] as number);
    folded++;
  }
  return order.slice(0, folded);
}
