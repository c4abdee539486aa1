/** Which web pages may call the API from a browser: those of the configured origins. Specification: Fetch, CORS protocol. */
import type { HttpRequest, HttpResponse } from "../transport/http/request-body.js";

const METHODS = "GET, HEAD, POST, PUT, DELETE";
const REQUEST_HEADERS = "Authorization, Content-Type, If-Match, If-None-Match";
const RESPONSE_HEADERS = "ETag, Location, Retry-After, X-Request-Id";

/** Before anything else is known of the request: refusals must be readable too. Cookies are never asked for. */
export function allowOrigin(
  { headers }: HttpRequest,
  response: HttpResponse,
  origins: readonly string[],
): void {
  if (origins.length === 0) return;
  response.setHeader("Vary", "Origin");
  const { origin } = headers;
  if (origin === undefined || !origins.includes(origin)) return;
  response.setHeader("Access-Control-Allow-Origin", origin);
  response.setHeader("Access-Control-Expose-Headers", RESPONSE_HEADERS);
  if (headers["access-control-request-method"] === undefined) return;
  response.setHeader("Access-Control-Allow-Methods", METHODS);
  response.setHeader("Access-Control-Allow-Headers", REQUEST_HEADERS);
  response.setHeader("Access-Control-Max-Age", "600");
}
