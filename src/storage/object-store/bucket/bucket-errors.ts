/** The errors of buckets, each a sentence that names the bucket and the key. */
import { GitwharfError } from "../../../base/errors.js";

export function noSuchKey(bucket: string, key: string, cause?: unknown): GitwharfError {
  return new GitwharfError("storage/not-found", `there is no ${key} in ${bucket}`, {
    ...(cause === undefined ? {} : { cause }),
    details: { bucket, key },
  });
}

/** @param doing "reading c/00/x", "listing" … */
export function bucketError(bucket: string, doing: string, cause: unknown): GitwharfError {
  if (cause instanceof GitwharfError) return cause;
  const why = cause instanceof Error ? cause.message : String(cause);
  return new GitwharfError("storage/io", `${doing} in ${bucket} failed: ${why}`, {
    cause,
    details: { bucket },
  });
}

export function uploadIsOver(bucket: string, key: string): GitwharfError {
  return new GitwharfError("base/invariant", `the upload of ${key} to ${bucket} is over`);
}
