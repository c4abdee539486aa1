/**
 * Reading an object, whatever happens on the way: an answer that breaks off or stands still is asked for again from
 * where it stopped. Bytes are counted against what the store has announced, so that none are missing at the end.
 *
 * A reader who pauses for as long as the store may pause loses connection and place, and gets new ones when it goes on:
 * slow readers keep nobody else from reading.
 */
import type { IncomingMessage } from "node:http";
import type { GetObjectCommandOutput } from "@aws-sdk/client-s3";
import { throwIfAborted } from "../../../../base/errors.js";
import type { BucketRange } from "../bucket.js";
import { beforeNext, type Patience } from "./attempts.js";
import { S3Failure } from "./s3-failure.js";
import type { OpenRequest, RequestOptions, S3Requests } from "./s3-requests.js";

export interface ReadObjectOptions {
  readonly requests: S3Requests;
  readonly patience: Patience;
  /** Longest wait for the next bytes, and longest pause of the reader. */
  readonly idleMs: number;
  /** Sends GetObject. @param range the header's value */
  readonly ask: (range: string | undefined, signal: AbortSignal) => Promise<GetObjectCommandOutput>;
  readonly range: BucketRange | undefined;
  readonly signal: AbortSignal | undefined;
  readonly isStream: boolean;
  /** How many there will be, before the first of them. */
  readonly onLength?: (bytes: number) => void;
}

/** After so many bytes, what went wrong before is forgotten. */
const PROGRESS_BYTES = 1024 * 1024;

/** @throws S3Failure, base/aborted */
export async function* readObject(options: ReadObjectOptions): AsyncGenerator<Buffer> {
  const { requests, patience, idleMs, ask, range, signal, isStream, onLength } = options;
  const start = range?.start ?? 0;
  let at = start;
  let end: number | undefined;
  let failures = 0;
  let failedAt = start;
  for (let attempt = 1; ; attempt++) {
    let request: OpenRequest<GetObjectCommandOutput> | undefined;
    let body: IncomingMessage | undefined;
    try {
      const sent: RequestOptions = { operation: "GetObject", attempt, signal, isStream };
      request = await requests.open(sent, (ending) => ask(rangeHeader(at, end ?? range?.end), ending));
      body = request.answer.Body as IncomingMessage;
      // Whoever reads it is told; what happens to it afterwards is no one's concern.
      body.on("error", () => undefined);
      const extent = extentOf(request.answer, at);
      if (end === undefined) {
        end = Math.min(range?.end ?? extent, extent);
        onLength?.(Math.max(0, end - at));
      }
      let isPaused = false;
      const leave = (): void => {
        isPaused = true;
        body?.destroy();
        request?.end();
      };
      for await (const chunk of withinIdleTime(body, idleMs)) {
        // More than was asked for: of no use to anybody.
        const wanted = chunk.length > end - at ? chunk.subarray(0, end - at) : chunk;
        at += wanted.length;
        if (wanted.length > 0) {
          const pause = setTimeout(leave, idleMs);
          try {
            yield wanted;
          } finally {
            clearTimeout(pause);
          }
        }
        if (isPaused || wanted.length < chunk.length) break;
      }
      if (isPaused && at < end) {
        throwIfAborted(signal);
        continue;
      }
      if (end !== Infinity && at < end)
        throw new S3Failure("passing", "Truncated", `the answer ended after ${at} of ${end} bytes`);
      return;
    } catch (error) {
      const failure = request === undefined ? error : request.failure(error);
      // The range begins behind the end of the object.
      if (isBehindTheEnd(failure) && end === undefined) return;
      if (at - failedAt >= PROGRESS_BYTES) failures = 0;
      failedAt = at;
      failures++;
      // Neither the place nor the connection is kept while it waits.
      body?.destroy();
      request?.end();
      await beforeNext(failure, failures, patience, signal);
    } finally {
      body?.destroy();
      request?.end();
    }
  }
}

function rangeHeader(start: number, end: number | undefined): string | undefined {
  if (end !== undefined) return `bytes=${start}-${end - 1}`;
  return start === 0 ? undefined : `bytes=${start}-`;
}

/** Where the answer ends in the object or, when it begins at the right place, the object itself. */
function extentOf({ ContentRange, ContentLength }: GetObjectCommandOutput, at: number): number {
  const [, first, last] = /^bytes (\d+)-(\d+)\//.exec(ContentRange ?? "") ?? [];
  const begins = first === undefined ? 0 : Number(first);
  if (begins !== at)
    throw new S3Failure(
      "final",
      "WrongRange",
      `the store answered with bytes from ${begins}, not from ${at}`,
    );
  if (last !== undefined) return Number(last) + 1;
  return ContentLength ?? Infinity;
}

function isBehindTheEnd(error: unknown): boolean {
  return error instanceof S3Failure && error.status === 416;
}

/** The time in which nobody reads does not count. */
async function* withinIdleTime(body: IncomingMessage, idleMs: number): AsyncGenerator<Buffer> {
  let timer: NodeJS.Timeout | undefined;
  const wait = (): void => {
    timer = setTimeout(() => {
      body.destroy(new Error(`no more bytes came within ${idleMs} ms`));
    }, idleMs);
  };
  wait();
  try {
    for await (const chunk of body) {
      clearTimeout(timer);
      yield chunk as Buffer;
      wait();
    }
  } finally {
    clearTimeout(timer);
  }
}
