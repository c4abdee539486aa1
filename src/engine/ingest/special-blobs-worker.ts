/** Looks through special blobs in a worker thread: see `special-blobs.ts`. */
import { openObjectReader } from "../../storage/object-database.js";
import { checkAll, type SpecialBlobsTask } from "./special-blobs.js";

export default async function checkInWorker(task: SpecialBlobsTask): Promise<readonly string[]> {
  return checkAll(openObjectReader(task.objects, { blocking: true }), task);
}
