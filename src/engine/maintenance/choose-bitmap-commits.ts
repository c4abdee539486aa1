/**
 * Which commits get a bitmap: what is asked for most (the tips), all that is young, and behind that one commit in a
 * growing number, so that a walk from anywhere meets one soon. A merge is preferred: it covers more.
 */
import type { CommitColumns } from "../../pack/commit-columns.js";

/** So many tips, and so many of the youngest commits, each have a bitmap. */
const TIPS_MAX = 1000;
const YOUNG_MAX = 100;
/** Behind them one in a hundred, and from here on ever fewer, but one in five thousand. */
const OLD_FROM = 20_000;
const GAP_MIN = 100;
const GAP_MAX = 5000;

/**
 * @param order all rows, parents first
 * @param tips rows, the most important first
 * @returns rows in that order
 */
export function chooseBitmapCommits(
  { count, parentStarts }: CommitColumns,
  order: Uint32Array,
  tips: readonly number[],
): number[] {
  const isChosen = new Uint8Array(count);
  for (const tip of tips.slice(0, TIPS_MAX)) isChosen[tip] = 1;
  const rowOfAge = (age: number): number => order[count - 1 - age] as number;
  for (let age = 0; age < count; ) {
    const gap = Math.min(gapAt(age), count - age);
    let best = rowOfAge(age + gap - 1);
    for (let i = gap - 1; i >= 0; i--) {
      const row = rowOfAge(age + i);
      if (isChosen[row] === 1) {
        best = row;
        break;
      }
      const isMerge = (parentStarts[row + 1] as number) - (parentStarts[row] as number) > 1;
      const bestIsMerge = (parentStarts[best + 1] as number) - (parentStarts[best] as number) > 1;
      if (isMerge && !bestIsMerge) best = row;
    }
    isChosen[best] = 1;
    age += gap;
  }
  return [...order].filter((row) => isChosen[row] === 1);
}

function gapAt(age: number): number {
  if (age < YOUNG_MAX) return 1;
  if (age < OLD_FROM) return Math.min(GAP_MIN, age - YOUNG_MAX + 1);
  return Math.min(GAP_MAX, Math.max(GAP_MIN, age - OLD_FROM));
}
