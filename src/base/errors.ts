/**
 * The one error class that gitwharf throws. Services throw; transports translate by code.
 */
import { ERROR_CODES, type ErrorCode, type ErrorKind } from "./error-codes.js";

export interface GitwharfErrorOptions {
  readonly cause?: unknown;
  /** Facts for logs and tests (offset, object id, limit …). Never shown to a peer as they are. */
  readonly details?: Readonly<Record<string, unknown>>;
}

/**
 * @property code stable, documented in docs/errors.md
 * @property message one sentence for a person: what was wrong, where, what to do. For `peer` errors it is sent
 *   to the peer; for the other kinds only transports decide what the peer sees.
 */
export class GitwharfError extends Error {
  readonly code: ErrorCode;
  readonly kind: ErrorKind;
  readonly retryable: boolean;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: GitwharfErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "GitwharfError";
    this.code = code;
    this.kind = ERROR_CODES[code].kind;
    this.retryable = ERROR_CODES[code].retryable;
    this.details = options.details ?? {};
  }
}

/** True for an error of ours with one of these codes (any code when none is named). */
export function isGitwharfError(error: unknown, ...codes: ErrorCode[]): error is GitwharfError {
  return error instanceof GitwharfError && (codes.length === 0 || codes.includes(error.code));
}

/**
 * One sentence on a failure that is ours: what a peer may read of it. A setting that is wrong is named, so that who
 * runs into it can tell whoever may mend it.
 */
export function describeOperational(error: GitwharfError): string {
  const { setting } = error.details;
  return typeof setting === "string"
    ? `the repository's configuration is wrong: ${setting}; ask its operator`
    : `the server could not do this (${error.code}); ask its operator`;
}

/** @throws base/invariant a defect of gitwharf; never reachable from a peer's bytes */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new GitwharfError("base/invariant", message);
}

/** @throws base/aborted when the signal has fired */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw abortedError(signal);
}

export function abortedError(signal: AbortSignal): GitwharfError {
  const reason: unknown = signal.reason;
  if (reason instanceof GitwharfError) return reason;
  return new GitwharfError("base/aborted", "the request was aborted", { cause: reason });
}
