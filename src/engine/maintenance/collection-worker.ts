/** Plans a collection of garbage in a worker thread: see `collect-garbage.ts`. */
import type { ObjectReaderDescriptor } from "../../storage/contracts/object-reader.js";
import { openObjectReader } from "../../storage/object-database.js";
import { unlimitedBudget } from "../fetch/work-budget.js";
import { type CollectionPlan, type CollectionRequest, planCollection } from "./collection-plan.js";

export interface CollectionTask {
  readonly objects: ObjectReaderDescriptor;
  readonly request: CollectionRequest;
}

export default async function planInWorker({ objects, request }: CollectionTask): Promise<CollectionPlan> {
  return planCollection(openObjectReader(objects, { blocking: true }), request, unlimitedBudget());
}
