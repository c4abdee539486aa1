/** Plans the packing of loose objects in a worker thread: see `pack-loose.ts`. */
import type { ObjectReaderDescriptor } from "../../storage/contracts/object-reader.js";
import { openObjectReader } from "../../storage/object-database.js";
import { unlimitedBudget } from "../fetch/work-budget.js";
import { type LoosePlan, type LooseRequest, planLoose } from "./loose-plan.js";

export interface LooseTask {
  readonly objects: ObjectReaderDescriptor;
  readonly request: LooseRequest;
}

export default async function planInWorker({ objects, request }: LooseTask): Promise<LoosePlan> {
  return planLoose(openObjectReader(objects, { blocking: true }), request, unlimitedBudget());
}
