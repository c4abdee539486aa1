/** Long lists of ids into a digest, with turns for others in between. */
import type { Hash } from "node:crypto";
import type { WorkBudget } from "./work-budget.js";

const ITEMS_AT_ONCE = 1000;
/** So many items hashed take about as long as a commit parsed. */
const ITEMS_A_UNIT = 50;

/** The name and the length go before the items, each on a line: no two lists give the same bytes. */
export async function hashList(
  hash: Hash,
  name: string,
  items: readonly string[],
  budget: WorkBudget,
): Promise<void> {
  hash.update(`${name} ${items.length}\n`);
  for (let at = 0; at < items.length; at += ITEMS_AT_ONCE) {
    const some = items.slice(at, at + ITEMS_AT_ONCE);
    hash.update(`${some.join("\n")}\n`);
    if (budget.spend(some.length / ITEMS_A_UNIT)) await budget.pause();
  }
}
