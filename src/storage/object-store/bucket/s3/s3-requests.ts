/**
 * Single requests to the store, in bounded number, each within its time. A request is over when its answer has been read:
 * until then it keeps its place and the caller's signal ends it.
 *
 * Answers of any length, which may wait for a slow reader, have places of their own: however many such there are,
 * short requests go on.
 */
import { abortedError, type GitwharfError } from "../../../../base/errors.js";
import { createGate, type Gate } from "./gate.js";
import { failureOf, S3Failure, statusOf } from "./s3-failure.js";

export interface S3Request {
  /** `PutObject` … */
  readonly operation: string;
  /** 1 for the first, more for one that is tried again. */
  readonly attempt: number;
  /** Until the answer had begun or, but for `GetObject`, was there. */
  readonly seconds: number;
  /** undefined: there was no answer. */
  readonly status: number | undefined;
  readonly failed: boolean;
}

export interface S3RequestsOptions {
  readonly requestsMax: number;
  readonly streamsMax: number;
  readonly requestMs: number;
  readonly onRequest?: ((request: S3Request) => void) | undefined;
}

export interface RequestOptions {
  readonly operation: string;
  readonly attempt: number;
  readonly signal: AbortSignal | undefined;
  /** That are sent: more time for more. */
  readonly bodyBytes?: number;
  /** For what takes the store longer than others: so many times the time of a request. */
  readonly times?: number;
  /** Among those of any length. */
  readonly isStream?: boolean;
}

export interface OpenRequest<T> {
  readonly answer: T;
  /** What an error in reading the answer means. */
  failure(error: unknown): S3Failure | GitwharfError;
  /** To be called, in any case. */
  end(): void;
}

/** A line of 256 KiB/s is slow, but it works. */
const SLOWEST_BYTES_PER_MS = 256;

export class S3Requests {
  readonly #options: S3RequestsOptions;
  readonly #short: Gate;
  readonly #streams: Gate;

  constructor(options: S3RequestsOptions) {
    this.#options = options;
    this.#short = createGate(options.requestsMax);
    this.#streams = createGate(options.streamsMax);
  }

  /** @throws S3Failure, base/aborted */
  async send<T>(options: RequestOptions, ask: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const request = await this.open(options, ask);
    request.end();
    return request.answer;
  }

  /** @throws S3Failure, base/aborted */
  async open<T>(options: RequestOptions, ask: (signal: AbortSignal) => Promise<T>): Promise<OpenRequest<T>> {
    const { operation, attempt, signal, bodyBytes = 0, times = 1, isStream = false } = options;
    const leave = await (isStream ? this.#streams : this.#short).enter(signal);
    if (signal?.aborted === true) {
      leave();
      throw abortedError(signal);
    }
    const ending = new AbortController();
    const onAbort = (): void => ending.abort();
    signal?.addEventListener("abort", onAbort, { once: true });
    const end = (): void => {
      signal?.removeEventListener("abort", onAbort);
      leave();
    };

    const timeoutMs = this.#options.requestMs * times + Math.ceil(bodyBytes / SLOWEST_BYTES_PER_MS);
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      ending.abort();
    }, timeoutMs);
    const failure = (error: unknown): S3Failure | GitwharfError => {
      if (signal?.aborted === true) return abortedError(signal);
      if (isLate) return new S3Failure("passing", "TimeoutError", `no answer came within ${timeoutMs} ms`);
      return failureOf(error);
    };
    const startedMs = performance.now();
    const tell = (status: number | undefined, failed: boolean): void => {
      const seconds = (performance.now() - startedMs) / 1000;
      this.#options.onRequest?.({ operation, attempt, seconds, status, failed });
    };
    try {
      const answer = await withSignal(ending.signal, ask);
      tell(statusOf(answer), false);
      return { answer, failure, end };
    } catch (error) {
      tell(statusOf(error), true);
      end();
      throw failure(error);
    } finally {
      clearTimeout(timer);
    }
  }
}

/** The client listens to the signal once it sends, not while it looks for credentials. */
async function withSignal<T>(signal: AbortSignal, ask: (signal: AbortSignal) => Promise<T>): Promise<T> {
  let onAbort = (): void => undefined;
  const cut = new Promise<never>((_, reject) => {
    onAbort = () => reject(new Error("the request was ended"));
    signal.addEventListener("abort", onAbort, { once: true });
  });
  try {
    if (signal.aborted) onAbort();
    return await Promise.race([ask(signal), cut]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
