/** A short answer of the server's own in place of an app's. */
import type { AppRequest, AppResponse } from "./exchange.js";

/** How long a body that nobody wants any more is read. */
const DRAIN_MS = 30_000;

/** Does nothing when an answer has begun. */
export function answerInPlainText(
  request: AppRequest,
  response: AppResponse,
  status: number,
  text: string,
): void {
  if (response.destroyed || response.headersSent) return;
  const body = Buffer.from(`${text}\n`);
  response.statusCode = status;
  response.setHeader("Content-Type", "text/plain; charset=utf-8");
  response.setHeader("Content-Length", body.length);
  response.setHeader("Cache-Control", "no-store");
  response.setHeader("X-Content-Type-Options", "nosniff");
  // Whoever waits to be told to go on may send the body now, or leave it out: nothing behind it can be read for sure.
  if (request.httpVersionMajor === 1 && !request.complete && request.headers.expect !== undefined)
    response.setHeader("Connection", "close");
  if (status === 503) response.setHeader("Retry-After", "5");
  if (request.method === "HEAD") response.end();
  else response.end(body);
  drainForAWhile(request);
}

/** Closing a connection on which bytes still arrive resets it, and the client would lose the answer. */
export function drainForAWhile(request: AppRequest): void {
  if (!request.complete) {
    const timer = setTimeout(() => request.destroy(), DRAIN_MS);
    timer.unref();
    const stop = (): void => clearTimeout(timer);
    request.once("close", stop);
    request.once("end", stop);
  }
  request.resume();
}
