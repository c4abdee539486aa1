/** How requests end, in few words: for lines of the log, and for metrics, which are kept for each. */
import { isGitwharfError } from "./errors.js";

export const REQUEST_OUTCOMES = [
  "ok",
  "denied",
  "unauthenticated",
  "not-found",
  "too-large",
  "bad-request",
  /** Too much to do, or too many attempts: come again. */
  "busy",
  /** The client left. */
  "gone",
  /** The server's fault. */
  "failed",
] as const;

export type RequestOutcome = (typeof REQUEST_OUTCOMES)[number];

export function outcomeOf(error: unknown): RequestOutcome {
  if (!isGitwharfError(error)) return "failed";
  switch (error.code) {
    case "access/denied":
    case "protocol/service-disabled":
      return "denied";
    case "access/unauthenticated":
      return "unauthenticated";
    case "storage/not-found":
    case "storage/bad-name":
      return "not-found";
    case "storage/cannot-rename":
    case "storage/exists":
      return "bad-request";
    case "base/limit-exceeded":
      return "too-large";
    case "access/audit-failed":
    case "access/suspended":
    case "access/too-many-attempts":
    case "access/too-many-requests":
    case "base/shutting-down":
    case "server/busy":
      return "busy";
    case "base/aborted":
      return "gone";
    default:
      return error.kind === "peer" ? "bad-request" : "failed";
  }
}
