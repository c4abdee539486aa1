/**
 * A request's body as a byte source: `Expect: 100-continue` answered when the body is first wanted, gzip undone,
 * a peer that stalls given up. What the bytes may amount to is limited by who parses them.
 */
import { createGunzip, type Gunzip } from "node:zlib";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import type { ByteSource } from "../../base/byte-streams.js";
import { GitwharfError } from "../../base/errors.js";
import { readReadable } from "../readable-source.js";

export type HttpRequest = IncomingMessage | Http2ServerRequest;
export type HttpResponse = ServerResponse | Http2ServerResponse;

/** Requests that wait for `100 Continue` (the listener marks them). */
export const awaitingContinue = new WeakSet<HttpRequest>();

/**
 * @throws protocol/unsupported for a Content-Encoding other than gzip (at once)
 * @throws while reading: protocol/bad-request (broken gzip), base/truncated (client left), base/aborted
 */
export function readRequestBody(
  request: HttpRequest,
  response: HttpResponse,
  options: { readonly idleTimeoutMs: number; readonly signal: AbortSignal },
): ByteSource {
  const encoding = (request.headers["content-encoding"] ?? "identity").trim().toLowerCase();
  if (!["identity", "gzip", "x-gzip", ""].includes(encoding)) {
    throw new GitwharfError(
      "protocol/unsupported",
      `Content-Encoding '${encoding.slice(0, 40)}' is not supported`,
    );
  }
  return read(request, response, encoding.endsWith("gzip"), options);
}

async function* read(
  request: HttpRequest,
  response: HttpResponse,
  gzip: boolean,
  options: { readonly idleTimeoutMs: number; readonly signal: AbortSignal },
): AsyncGenerator<Uint8Array> {
  if (awaitingContinue.delete(request)) response.writeContinue();
  const gunzip = gzip ? gunzipOf(request) : undefined;
  try {
    // What is not read here is read by whoever answers: the connection must live on for that.
    yield* readReadable(gunzip ?? request, options);
  } catch (error) {
    throw bodyError(error);
  } finally {
    if (gunzip !== undefined) {
      request.unpipe(gunzip);
      gunzip.destroy();
    }
  }
}

/** Unlike `pipeline`, it leaves the request alone when it is destroyed. */
function gunzipOf(request: HttpRequest): Gunzip {
  const gunzip = createGunzip();
  // Only keeps a late error from being thrown; reading meets the same error.
  gunzip.on("error", () => undefined);
  request.once("close", () => {
    if (!request.complete) gunzip.destroy(new Error("the connection was closed"));
  });
  return request.pipe(gunzip);
}

function bodyError(error: unknown): GitwharfError {
  if (error instanceof GitwharfError) return error;
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  if (code.startsWith("Z_") || code === "ERR_BUFFER_TOO_LARGE") {
    return new GitwharfError("protocol/bad-request", "the request's body is not valid gzip", {
      cause: error,
    });
  }
  return new GitwharfError("base/truncated", "the client left before its request was complete", {
    cause: error,
  });
}
