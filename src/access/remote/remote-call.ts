/**
 * One question to the application: a signed POST, an answer of bounded size within a bounded time, no redirects,
 * retries with jitter when it is away, and a circuit breaker when it stays away. What is wrong with an answer is no
 * reason to ask again, and none to leave the application alone: a stranger could provoke that.
 */
import {
  BrokenCircuitError,
  bulkhead,
  BulkheadRejectedError,
  circuitBreaker,
  ConsecutiveBreaker,
  ExponentialBackoff,
  handleType,
  retry,
  wrap,
} from "cockatiel";
import type { CheckedRemoteOptions } from "./remote-options.js";
import { signatureHeaders } from "./remote-signature.js";

/** No usable answer. Its message is for the operator. */
export class RemoteFailure extends Error {
  override readonly name: string = "RemoteFailure";
}

/** The application is not there, or says that it cannot now. */
class RemoteAway extends RemoteFailure {
  override readonly name = "RemoteAway";
}

export interface RemoteAnswer {
  readonly value: unknown;
  /** How long the answer may be kept: its `Cache-Control: max-age`. */
  readonly maxAgeSeconds: number;
}

export interface RemoteCaller {
  /** @throws RemoteFailure */
  ask(path: string, body: string): Promise<RemoteAnswer>;
}

export interface RemoteEvents {
  readonly onRetry: (why: string) => void;
  readonly onBreak: () => void;
  readonly onReset: () => void;
}

const OK = 200;
const TOO_MANY = 429;

export function createRemoteCaller(options: CheckedRemoteOptions, events: RemoteEvents): RemoteCaller {
  const away = handleType(RemoteAway);
  const breaker = circuitBreaker(away, {
    breaker: new ConsecutiveBreaker(options.breakerFailures),
    halfOpenAfter: options.breakerResetMs,
  });
  const retries = retry(away, {
    maxAttempts: options.retries,
    backoff: new ExponentialBackoff({ initialDelay: 50, maxDelay: 1000 }),
  });
  breaker.onBreak(() => events.onBreak());
  breaker.onReset(() => events.onReset());
  retries.onRetry((reason) => events.onRetry("error" in reason ? reason.error.message : "it gave no answer"));
  const policy = wrap(bulkhead(options.concurrencyMax, options.queueMax), retries, breaker);
  return {
    async ask(path, body) {
      try {
        return await policy.execute(() => attempt(options, `${options.url}/${path}`, body));
      } catch (error) {
        if (error instanceof BrokenCircuitError)
          throw new RemoteFailure("it did not answer lately and is left alone for a while");
        if (error instanceof BulkheadRejectedError)
          throw new RemoteFailure(`${options.queueMax} questions wait already (queueMax)`);
        throw error;
      }
    },
  };
}

async function attempt(options: CheckedRemoteOptions, url: string, body: string): Promise<RemoteAnswer> {
  const signal = AbortSignal.timeout(options.timeoutMs);
  let response: Response;
  let text: string | undefined;
  try {
    response = await fetch(url, {
      method: "POST",
      redirect: "manual",
      signal,
      headers: {
        Accept: "application/json",
        "Accept-Encoding": "identity",
        "Content-Type": "application/json",
        ...signatureHeaders(options.secret, body),
      },
      body,
    });
    text = await readBounded(response, response.status === OK ? options.answerBytesMax : 0);
  } catch (error) {
    throw new RemoteAway(signal.aborted ? `no answer within ${options.timeoutMs} ms` : causeOf(error), {
      cause: error,
    });
  }
  const { status } = response;
  if (status >= 500 || status === TOO_MANY) throw new RemoteAway(`it answered with status ${status}`);
  if (status !== OK)
    throw new RemoteFailure(`it answered with status ${status}, where only ${OK} is an answer`);
  if (text === undefined)
    throw new RemoteFailure(`its answer is larger than ${options.answerBytesMax} bytes (answerBytesMax)`);
  return { value: parse(text), maxAgeSeconds: maxAgeOf(response.headers.get("cache-control")) };
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

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new RemoteFailure("its answer is not JSON");
  }
}

/** RFC 9111, section 5.2.2; a directive that forbids keeping wins. */
function maxAgeOf(header: string | null): number {
  const directives = (header ?? "").split(",").map((each) => each.trim().toLowerCase());
  if (directives.some((each) => /^no-(?:store|cache)\b/.test(each))) return 0;
  const ages = directives.flatMap((each) => /^max-age="?([0-9]{1,9})"?$/.exec(each)?.[1] ?? []);
  return ages.length === 0 ? 0 : Math.min(...ages.map(Number));
}

/** `fetch failed` says nothing; what lies below does. */
function causeOf(error: unknown): string {
  const cause: unknown = error instanceof Error ? (error.cause ?? error) : error;
  if (!(cause instanceof Error)) return "the connection failed";
  const code: unknown = Reflect.get(cause, "code");
  return `the connection failed (${typeof code === "string" ? code : cause.message})`;
}
