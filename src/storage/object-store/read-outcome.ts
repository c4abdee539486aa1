/** What came of reading an object of the bucket to its end. */
import { type GitwharfError, isGitwharfError } from "../../base/errors.js";
import type { Bucket } from "./bucket/bucket.js";

export interface ReadOutcome {
  /** That were read. */
  readonly sizeBytes: number;
  /** What is wrong, in a sentence; undefined: nothing. */
  readonly message?: string;
  /** The bucket did not give it out just now: that says nothing of the object. */
  readonly failure?: GitwharfError;
}

/** @throws the error, when it is not of reading */
export function unreadObject(bucket: Bucket, key: string, sizeBytes: number, error: unknown): ReadOutcome {
  if (isGitwharfError(error, "storage/not-found"))
    return { sizeBytes, message: `${key} is not in the bucket ${bucket.name}` };
  if (isGitwharfError(error, "storage/io"))
    return { sizeBytes, message: `${key} cannot be read: ${error.message}`, failure: error };
  throw error;
}
