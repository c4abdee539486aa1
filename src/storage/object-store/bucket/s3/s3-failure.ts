/**
 * What an error of the S3 client means: the key is not there, trying again may help, or it will not. The client's error
 * object goes no further than here: it holds the request, signature included.
 */
import { GitwharfError } from "../../../../base/errors.js";

export class S3Failure extends Error {
  /** "absent": the key, or the upload, is not there. "passing": worth another try. "final": neither. */
  readonly kind: "absent" | "passing" | "final";
  /** The store's name for it, `SlowDown`; or Node's, `ECONNRESET`. */
  readonly errorName: string;

  readonly status: number | undefined;

  constructor(kind: S3Failure["kind"], errorName: string, message: string, status?: number) {
    super(message);
    this.name = "S3Failure";
    this.kind = kind;
    this.errorName = errorName;
    this.status = status;
  }
}

const ABSENT = new Set(["NoSuchKey", "NotFound", "NoSuchUpload"]);
/** Answered with 4xx, though nothing is wrong with the request. */
const PASSING = new Set([
  "SlowDown",
  "RequestTimeout",
  "RequestTimeTooSkewed",
  "Throttling",
  "ThrottlingException",
  "TooManyRequests",
  "OperationAborted",
  "ConcurrentModification",
  // Bytes were changed on their way: Content-MD5 is of those that were sent.
  "BadDigest",
  "IncompleteBody",
]);
const PASSING_STATUS = new Set([408, 425, 429, 500, 502, 503, 504]);
/** The client could not even ask. */
const NEVER_SENT = new Set([
  "CredentialsProviderError",
  "ProviderError",
  "TokenProviderError",
  "ERR_INVALID_URL",
  "ERR_INVALID_ARG_TYPE",
]);
const MESSAGE_LENGTH_MAX = 300;

export function failureOf(error: unknown): S3Failure | GitwharfError {
  if (error instanceof S3Failure || error instanceof GitwharfError) return error;
  if (!(error instanceof Error)) return new S3Failure("passing", "Error", tidy(String(error)));
  const status = statusOf(error);
  const code: unknown = Reflect.get(error, "code");
  const name = error.name === "Error" && typeof code === "string" ? code : error.name;
  const why =
    status === undefined
      ? tidy(error.message || name)
      : `the store answered ${told(status, name, error.message)}`;
  if (ABSENT.has(name)) return new S3Failure("absent", name, why, status);
  if (NEVER_SENT.has(name)) return new S3Failure("final", name, why, status);
  // Without a status the connection failed; with a good one, what came with it could not be read.
  const passing =
    status === undefined ||
    status < 300 ||
    PASSING_STATUS.has(status) ||
    PASSING.has(name) ||
    isClockSet(error);
  return new S3Failure(passing ? "passing" : "final", name, why, status);
}

/** Of an answer or an error of the client. */
export function statusOf(said: unknown): number | undefined {
  const status = metadataOf(said, "httpStatusCode");
  return typeof status === "number" ? status : undefined;
}

/** The store's time is another than ours; the client has taken note of it for the next request. */
function isClockSet(error: Error): boolean {
  return metadataOf(error, "clockSkewCorrected") === true;
}

function metadataOf(said: unknown, name: string): unknown {
  if (typeof said !== "object" || said === null) return undefined;
  const metadata: unknown = Reflect.get(said, "$metadata");
  return typeof metadata === "object" && metadata !== null ? Reflect.get(metadata, name) : undefined;
}

/** An answer to HEAD has no body, and so no name. */
function told(status: number, name: string, message: string): string {
  if (name === "Unknown") return String(status);
  return message === "" || message === name ? `${status} ${name}` : `${status} ${name}: ${tidy(message)}`;
}

function tidy(text: string): string {
  return text.replaceAll(/[\p{Cc}\s]+/gu, " ").slice(0, MESSAGE_LENGTH_MAX);
}
