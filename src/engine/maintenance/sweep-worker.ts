/** Plans a sweep in a worker thread: see `sweep-garbage.ts`. */
import type { ObjectReaderDescriptor } from "../../storage/contracts/object-reader.js";
import { openObjectReader } from "../../storage/object-database.js";
import { unlimitedBudget } from "../fetch/work-budget.js";
import { planSweep, type SweepPlan, type SweepRequest } from "./sweep-plan.js";

export interface SweepTask {
  readonly objects: ObjectReaderDescriptor;
  readonly request: SweepRequest;
}

export default async function planInWorker({ objects, request }: SweepTask): Promise<SweepPlan> {
  return planSweep(openObjectReader(objects, { blocking: true }), request, unlimitedBudget());
}
