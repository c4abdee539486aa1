/** The worker's side of the connectivity check. */
import { openObjectReader } from "../../storage/object-database.js";
import { unlimitedBudget } from "../fetch/work-budget.js";
import { newObjectTest } from "../ingest/new-object-links.js";
import type { ConnectivityTask, FindMissingAnswer, MarkAnswer } from "./connectivity-task.js";
import { findMissing } from "./find-missing.js";
import { markNearby } from "./mark-reachable.js";
import { NeededObjects } from "./needed-objects.js";

export default async function runConnectivityTask(
  task: ConnectivityTask,
): Promise<MarkAnswer | FindMissingAnswer> {
  const objects = openObjectReader(task.objects, { blocking: true });
  const isNew = newObjectTest(task.links, objects);
  const budget = unlimitedBudget();
  if (task.do === "find missing") {
    const unreachable = new Set(task.unreachable);
    return findMissing(
      { objects, isNew, unreachable, newShallow: new Set(task.newShallow), budget },
      task.tips,
    );
  }
  const needed = new NeededObjects(task.needed, objects.objectFormat);
  await markNearby({ objects, isNew, needed, budget }, task.tips);
  return needed.leftList();
}
