/** Plans a pack in a worker thread: see `pack-plan.ts`. */
import { openObjectReader } from "../../storage/object-database.js";
import type { ObjectReaderDescriptor } from "../../storage/contracts/object-reader.js";
import { type ComputedPlan, computePlan, type PlanRequest } from "./plan-request.js";
import { unlimitedBudget } from "./work-budget.js";

export interface PlanTask {
  readonly objects: ObjectReaderDescriptor;
  readonly request: PlanRequest;
}

export default async function planInWorker(task: PlanTask): Promise<ComputedPlan> {
  const objects = openObjectReader(task.objects, { blocking: true });
  return computePlan(objects, task.request, unlimitedBudget());
}
