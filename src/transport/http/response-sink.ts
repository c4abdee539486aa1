/** A response's body as a byte sink. */
import { createWritableSink, type SinkStream, type WritableSink } from "../writable-sink.js";
import type { HttpResponse } from "./request-body.js";

/** @param options.onFirstWrite sends the head, as late as possible: until then an error still has a status */
export function createResponseSink(
  response: HttpResponse,
  options: {
    readonly idleTimeoutMs: number;
    readonly signal: AbortSignal;
    readonly onFirstWrite: () => void;
  },
): WritableSink {
  return createWritableSink(response as SinkStream, options);
}
