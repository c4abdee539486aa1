/** Collects a reachable set in a worker thread: see `reachability.ts`. */
import type { ObjectReaderDescriptor } from "../../storage/contracts/object-reader.js";
import { openObjectReader } from "../../storage/object-database.js";
import { collectReachable, type ReachableRequest } from "./collect-reachable.js";
import type { ReachableSet } from "./reachable-set.js";
import { unlimitedBudget } from "./work-budget.js";

export interface ReachableTask {
  readonly objects: ObjectReaderDescriptor;
  readonly request: ReachableRequest;
}

export default async function collectInWorker(task: ReachableTask): Promise<ReachableSet> {
  const objects = openObjectReader(task.objects, { blocking: true });
  return collectReachable(objects, task.request, unlimitedBudget());
}
