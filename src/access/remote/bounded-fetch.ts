/**
 * One request to an application: an answer of bounded size within a bounded time, no redirects. Its address may hold
 * secrets and is in no error.
 */
import { RemoteAway, RemoteFailure } from "./remote-failure.js";

export interface BoundedFetchOptions {
  readonly timeoutMs: number;
  readonly answerBytesMax: number;
  /** Whose bodies are of interest. @default 200 */
  readonly readStatuses?: readonly number[];
  /** Is this a status of an application that cannot answer now? @default 429 and 5xx */
  readonly isAway?: (status: number) => boolean;
  readonly signal?: AbortSignal;
}

export interface BoundedAnswer {
  readonly status: number;
  /** Empty where the body is of no interest. */
  readonly text: string;
  readonly headers: Headers;
}

const OK = 200;
const TOO_MANY = 429;

/** @throws RemoteAway without an answer, and for statuses that say so; RemoteFailure for one that is too large */
export async function fetchBounded(
  url: string,
  request: Pick<RequestInit, "method" | "headers" | "body">,
  about: BoundedFetchOptions,
): Promise<BoundedAnswer> {
  const { timeoutMs, answerBytesMax, readStatuses = [OK], isAway = saysAway, signal: given } = about;
  const timeout = AbortSignal.timeout(timeoutMs);
  const signal = given === undefined ? timeout : AbortSignal.any([timeout, given]);
  let response: Response;
  let text: string | undefined;
  try {
    response = await fetch(url, { ...request, redirect: "manual", signal });
    text = await readBounded(response, readStatuses.includes(response.status) ? answerBytesMax : 0);
  } catch (error) {
    throw new RemoteAway(timeout.aborted ? `no answer within ${timeoutMs} ms` : causeOf(error), {
      cause: error,
    });
  }
  const { status, headers } = response;
  if (isAway(status)) throw new RemoteAway(`it answered with status ${status}`);
  if (text !== undefined) return { status, text, headers };
  if (readStatuses.includes(status))
    throw new RemoteFailure(`its answer is larger than ${answerBytesMax} bytes (answerBytesMax)`);
  return { status, text: "", headers };
}

function saysAway(status: number): boolean {
  return status >= 500 || status === TOO_MANY;
}

/** @throws RemoteFailure */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new RemoteFailure("its answer is not JSON");
  }
}

/** @returns undefined when it is larger; the rest is not read */
async function readBounded(response: Response, bytesMax: number): Promise<string | undefined> {
  if (response.body === null) return "";
  const reader = response.body.getReader();
  const chunks: Uint8Array[] = [];
  let size = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return Buffer.concat(chunks).toString("utf8");
    size += value.byteLength;
    if (size > bytesMax) {
      await reader.cancel();
      return undefined;
    }
    chunks.push(value);
  }
}

/** `fetch failed` says nothing; what lies below does. */
function causeOf(error: unknown): string {
  const cause: unknown = error instanceof Error ? (error.cause ?? error) : error;
  if (!(cause instanceof Error)) return "the connection failed";
  const code: unknown = Reflect.get(cause, "code");
  return `the connection failed (${typeof code === "string" ? code : cause.message})`;
}
