/** What a person at the other end reads while the pack comes, in git's words. */
import type { PackPlan } from "../../engine/pack-plan.js";

/** Before the pack. */
export function countedText({ objectCount: n }: PackPlan): string {
  return `Enumerating objects: ${n}, done.\nCounting objects: 100% (${n}/${n}), done.\n`;
}

/** Behind the pack. */
export function totalText(plan: PackPlan): string {
  const { objectCount, deltaCount, reusedCount, data } = plan;
  return `Total ${objectCount} (delta ${deltaCount}), reused ${reusedCount} (delta ${data.reusedDeltaCount}), pack-reused 0\n`;
}
