/**
 * Requests that could mean one thing here and another to the app, or to a proxy in front: who is asked, where the body ends.
 * Node has looked at most of it already: two lengths, a length beside chunks, folded lines.
 * Specification: RFC 9112, 3.2 (Host), 6.1 (Transfer-Encoding); RFC 9113, 8.3.1 (:authority).
 */
import type { AppRequest } from "./exchange.js";

export interface RefusedHead {
  readonly status: number;
  readonly text: string;
}

/** Names and values. Node leaves out further headers, `Content-Length` among them, and reads the body by it all the same. */
const RAW_HEADERS_MAX = 2000;

/** undefined: it can be handed on. */
export function refusedHead(request: AppRequest): RefusedHead | undefined {
  const { rawHeaders, headers } = request;
  if (rawHeaders.length >= RAW_HEADERS_MAX) return { status: 431, text: "the request has too many headers" };
  const hosts = rawHeaders.filter((_, i) => i % 2 === 1 && rawHeaders[i - 1]?.toLowerCase() === "host");
  const authority = headers[":authority"];
  const named = typeof authority === "string" ? [...hosts, authority] : hosts;
  if (hosts.length > 1 || new Set(named.map((host) => host.toLowerCase())).size > 1)
    return { status: 400, text: "the request names more than one host" };
  const coding = headers["transfer-encoding"];
  if (coding !== undefined && coding.trim().toLowerCase() !== "chunked")
    return { status: 501, text: "the body's transfer coding is not known here; send it in plain chunks" };
  return undefined;
}
