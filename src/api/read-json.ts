/** A request's body as one JSON object. */
import { GitwharfError } from "../base/errors.js";
import type { HttpExchange } from "../transport/http/answer-request.js";
import { readRequestBody } from "../transport/http/request-body.js";

export const BODY_BYTES_MAX = 16 * 1024;

/**
 * It must call itself JSON: what a form of a foreign web page can send is not taken.
 * @throws protocol/unsupported-media-type, protocol/bad-request, base/limit-exceeded, and as `readRequestBody`
 */
export async function readJsonObject(exchange: HttpExchange): Promise<Readonly<Record<string, unknown>>> {
  const { host, request, response, caller, signal } = exchange;
  const [type = ""] = (request.headers["content-type"] ?? "").split(";", 1);
  if (type.trim().toLowerCase() !== "application/json") {
    throw new GitwharfError(
      "protocol/unsupported-media-type",
      "the body of this request is JSON: send it with 'Content-Type: application/json'",
    );
  }
  const { idleTimeoutMs } = host.limits;
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of readRequestBody(request, response, { idleTimeoutMs, signal })) {
    caller.activity.received(chunk.length);
    bytes += chunk.length;
    if (bytes > BODY_BYTES_MAX) {
      throw new GitwharfError(
        "base/limit-exceeded",
        `the body of this request may have ${BODY_BYTES_MAX} bytes at most`,
      );
    }
    chunks.push(chunk);
  }
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks)));
  } catch (cause) {
    throw new GitwharfError("protocol/bad-request", "the body of this request is not valid JSON", { cause });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new GitwharfError("protocol/bad-request", "the body of this request is not a JSON object");
  return value as Readonly<Record<string, unknown>>;
}
