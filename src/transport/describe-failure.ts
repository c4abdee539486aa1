/**
 * What people are told of what went wrong, and whether operators are. Error codes as HTTP statuses, which other
 * transports go by as well. The table must cover every code: a new code does not compile without its row.
 */
import type { ErrorCode } from "../base/error-codes.js";
import { describeOperational, GitwharfError, isGitwharfError } from "../base/errors.js";
import { withRequestId } from "../protocol/service.js";

const STATUS: Record<ErrorCode, number> = {
  "access/audit-failed": 503,
  "access/denied": 403,
  "access/malformed-key": 400,
  "access/too-many-attempts": 429,
  "access/suspended": 503,
  "access/too-many-requests": 429,
  "access/unauthenticated": 401,
  "access/unavailable": 503,
  "base/aborted": 503,
  "base/invariant": 500,
  "base/limit-exceeded": 413,
  "base/shutting-down": 503,
  "base/truncated": 400,
  "base/worker-failed": 500,
  "client/bad-answer": 502,
  "client/not-callable": 502,
  "client/refused": 502,
  "client/unreachable": 502,
  "database/unavailable": 503,
  "deploy/launch-failed": 503,
  "deploy/no-answer": 502,
  "forge/bad-answer": 502,
  "forge/exhausted": 503,
  "forge/not-found": 404,
  "forge/refused": 403,
  "forge/unreachable": 502,
  "object/corrupt": 500,
  "object/malformed": 400,
  "pack/bad-delta": 400,
  "pack/bad-index": 500,
  "pack/bad-pack": 400,
  "pack/bad-zlib": 400,
  "pack/checksum-mismatch": 400,
  "pack/collision": 400,
  "pack/missing-base": 400,
  "protocol/bad-line": 400,
  "protocol/bad-request": 400,
  "protocol/not-our-ref": 400,
  "protocol/precondition-failed": 412,
  "protocol/service-disabled": 403,
  "protocol/unsupported": 400,
  "protocol/unsupported-media-type": 415,
  "server/bad-configuration": 500,
  "server/build-unavailable": 503,
  "server/busy": 503,
  "storage/bad-config": 500,
  "storage/bad-name": 404,
  "storage/bad-ref": 500,
  "storage/cannot-rename": 501,
  "storage/corrupt": 500,
  "storage/exists": 409,
  "storage/io": 500,
  "storage/locked": 503,
  "storage/not-found": 404,
  "storage/read-only": 403,
  "storage/unsupported": 500,
};

/**
 * @returns the status, and what the person may be told: a defect or an operational failure keeps its details, and where the
 *   server is at fault the id under which the operator finds the request
 */
export function describeFailure(
  error: unknown,
  requestId?: string,
): { readonly status: number; readonly text: string } {
  const { status, text } = describe(error);
  return { status, text: status === 500 ? withRequestId(text, requestId) : text };
}

function describe(error: unknown): { readonly status: number; readonly text: string } {
  if (!(error instanceof GitwharfError) || error.kind === "invariant") {
    return { status: 500, text: "internal error; the operator finds the details in the server's log" };
  }
  if (error.kind === "operational" && STATUS[error.code] === 500) {
    return { status: 500, text: describeOperational(error) };
  }
  return { status: STATUS[error.code], text: error.message };
}

/**
 * Is it for the log of errors? Who has left, and who was told to come again, is no news: a crowd must not fill the log.
 * @param status as `describeFailure` says
 */
export function isForOperators(error: unknown, status: number): boolean {
  return (
    status >= 500 &&
    !isGitwharfError(
      error,
      "access/audit-failed",
      "access/suspended",
      "access/unavailable",
      "base/aborted",
      "base/shutting-down",
      "server/busy",
      "storage/cannot-rename",
    )
  );
}
