/** The worker thread of `repositorySuite`: opens described objects and reads some of them. */
import { parentPort, workerData } from "node:worker_threads";
import { isPromise } from "../../../base/maybe-promise.js";
import { openObjectReader } from "../../object-database.js";
import type { ObjectReaderDescriptor } from "../object-reader.js";

export interface ReadObjectsTask {
  readonly descriptor: ObjectReaderDescriptor;
  readonly oids: readonly string[];
}

/** Per object; "late" when the answer was a promise, which a worker thread has no use for. */
export type ReadObjectsAnswer = readonly (
  | { readonly type: string; readonly content: string; readonly sizeBytes: number }
  | "absent"
  | "late"
)[];

const { descriptor, oids } = workerData as ReadObjectsTask;
const reader = openObjectReader(descriptor, { blocking: true });
const answer: ReadObjectsAnswer = oids.map((oid) => {
  const object = reader.read(oid);
  const header = reader.readHeader(oid);
  if (isPromise(object) || isPromise(header)) return "late";
  if (object === undefined || header === undefined) return "absent";
  return { type: object.type, content: object.data.toString("latin1"), sizeBytes: header.sizeBytes };
});
parentPort?.postMessage(answer);
