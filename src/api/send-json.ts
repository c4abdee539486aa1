/** Answers of the API. */
import type { HttpExchange } from "../transport/http/answer-request.js";

export interface JsonAnswer {
  readonly status: number;
  /** undefined: an answer without a body. */
  readonly value?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

export function sendJson(
  { request, response, caller }: HttpExchange,
  { status, value, headers = {} }: JsonAnswer,
): void {
  if (response.destroyed) return;
  response.statusCode = status;
  response.setHeader("X-Content-Type-Options", "nosniff");
  // What one caller may see another may not.
  response.setHeader("Cache-Control", "private, no-cache");
  for (const [name, text] of Object.entries(headers)) response.setHeader(name, text);
  if (value === undefined) {
    if (status === 200) response.setHeader("Content-Length", 0);
    response.end();
    return;
  }
  const body = Buffer.from(`${JSON.stringify(value)}\n`);
  response.setHeader("Content-Type", "application/json");
  response.setHeader("Content-Length", body.length);
  if (request.method === "HEAD") {
    response.end();
    return;
  }
  caller.activity.sent(body.length);
  response.end(body);
}
