/** The one form in which ingest says that a pack passes a limit. */
import { GitwharfError } from "../../base/errors.js";
import type { Limits } from "../../base/limits.js";

/** @param what "the pack", "the object at offset 12": it "has more than MAX UNIT" */
export function limitExceeded(
  limit: keyof Limits,
  what: string,
  max: number,
  unit: "bytes" | "objects" | "deltas in a chain",
): GitwharfError {
  return new GitwharfError(
    "base/limit-exceeded",
    `${what} has more than ${max} ${unit}, the server's limit (${limit})`,
    { details: { limit, max } },
  );
}
