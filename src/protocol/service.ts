/** What every Git service is given and gives back, and how it speaks of failures. */
import type { Activity } from "../base/activity.js";
import type { ByteSink, ByteSource } from "../base/byte-streams.js";
import { describeOperational, GitwharfError, isGitwharfError } from "../base/errors.js";
import { outcomeOf } from "../base/request-outcome.js";
import { sanitizeText } from "./wire/sanitize.js";

export interface ServiceStreams {
  readonly input: ByteSource;
  readonly output: ByteSink;
  /** One request and one answer (HTTP); false: a conversation on one connection. */
  readonly statelessRpc: boolean;
}

/** What went wrong and was told to the client; for the log. */
export interface ServiceOutcome {
  readonly failure?: unknown;
  /** It was told where the protocol has a place for it, as of refs that are refused. */
  readonly isReported?: boolean;
}

/** True for what the transport tells better than the protocol can: with HTTP, a status that says when to come again. */
export function isForTransport(error: unknown, { statelessRpc }: ServiceStreams): boolean {
  return statelessRpc && isGitwharfError(error, "server/busy");
}

/**
 * One line that a peer may read: its own mistakes word for word, ours by code only, with the id under which the operator
 * finds the request.
 */
export function describeForPeer(error: unknown, activity?: Pick<Activity, "requestId">): string {
  const text = describe(error);
  return outcomeOf(error) === "failed" ? withRequestId(text, activity?.requestId) : text;
}

/** For the person, when the server is at fault: what to tell the operator. */
export function withRequestId(text: string, requestId: string | undefined): string {
  return requestId === undefined ? text : `${text} (request ${requestId})`;
}

function describe(error: unknown): string {
  if (error instanceof GitwharfError && error.kind === "peer") return sanitizeText(error.message);
  if (error instanceof GitwharfError && error.kind === "operational") {
    return error.code === "base/shutting-down" || error.code === "server/busy"
      ? error.message
      : sanitizeText(describeOperational(error));
  }
  return "internal error; the operator finds the details in the server's log";
}
