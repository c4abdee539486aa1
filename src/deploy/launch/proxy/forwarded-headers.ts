/**
 * Headers as they go on: to the app, and back to the client. What belongs to one connection stays on it, and what a proxy
 * says of the client is said by this server, or by one that it trusts, and by nobody else.
 * Specification: RFC 9110, 7.6.1 (Connection), 7.6.3 (Via); X-Forwarded-* as de-facto standard.
 */
import type { RequestOrigin } from "./exchange.js";

/** Of one connection, whether `Connection` names them or not. */
const HOP_BY_HOP = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "http2-settings",
]);

/** What is said of the client by those in between; spelled with `_` some servers take it for the same. */
function isAboutClient(name: string): boolean {
  return (
    name === "forwarded" || name === "x-real-ip" || name.startsWith("x-forwarded-") || name === "x-request-id"
  );
}

export interface RequestHead {
  /** Names and values in turn. */
  readonly rawHeaders: readonly string[];
  readonly method: string;
  /** As the client wrote it. */
  readonly host: string;
  readonly origin: RequestOrigin;
  /** The connection to this server is encrypted. */
  readonly isEncrypted: boolean;
  /** A body follows whose length nobody has told. */
  readonly hasUnknownLength: boolean;
  /** The protocol to change to. */
  readonly upgrade?: string;
}

/** Names and values in turn, as `node:http` takes them. */
export function headersForApp(head: RequestHead): string[] {
  const { rawHeaders, method, host, origin, isEncrypted, upgrade } = head;
  const named = connectionTokens(rawHeaders);
  const before = new Map<string, string[]>();
  const headers = ["Host", host];
  let hasLength = false;
  forEachHeader(rawHeaders, (name, value, written) => {
    const plain = name.replaceAll("_", "-");
    if (isAboutClient(plain)) {
      if (plain === name) before.set(name, [...(before.get(name) ?? []), value]);
      return;
    }
    if (name === "content-length") {
      // Both at once would be two opinions on where the request ends.
      if (head.hasUnknownLength || hasLength) return;
      hasLength = true;
    }
    // `Expect` was answered here. Names with a colon are HTTP/2's own.
    if (name === "host" || name === "expect" || name.startsWith(":")) return;
    if (HOP_BY_HOP.has(plain) || (named.has(name) && name !== "content-length")) return;
    // Another spelling of the length, to whoever takes `_` and `-` for the same.
    if (plain === "content-length" && plain !== name) return;
    headers.push(written, value);
  });
  const told = (name: string): string | undefined =>
    origin.isTrusted ? before.get(name)?.join(", ") : undefined;
  const addresses = [told("x-forwarded-for"), origin.peerAddress].filter((one) => one !== undefined);
  if (addresses.length > 0) headers.push("X-Forwarded-For", addresses.join(", "));
  const protocol = told("x-forwarded-proto") ?? (isEncrypted ? "https" : "http");
  headers.push("X-Forwarded-Proto", protocol);
  headers.push("X-Forwarded-Host", told("x-forwarded-host") ?? host);
  headers.push("X-Forwarded-Port", told("x-forwarded-port") ?? portOf(host, protocol));
  headers.push("X-Request-Id", origin.requestId);
  if (upgrade !== undefined) headers.push("Connection", "Upgrade", "Upgrade", upgrade);
  // It is used once. But an app that is told so may close it while the request is on its way, and reset its own answer.
  else headers.push("Connection", "keep-alive");
  if (head.hasUnknownLength) headers.push("Transfer-Encoding", "chunked");
  else if (!hasLength && !BODILESS.has(method)) headers.push("Content-Length", "0");
  return headers;
}

/** Without a length these have no body; others would be sent one of no bytes in chunks. */
const BODILESS = new Set(["GET", "HEAD", "DELETE", "OPTIONS", "TRACE"]);

/** By names as the app wrote them; several values where it sent several. */
export function headersForClient(rawHeaders: readonly string[]): ReadonlyMap<string, readonly string[]> {
  const named = connectionTokens(rawHeaders);
  const byName = new Map<string, { readonly written: string; readonly values: string[] }>();
  forEachHeader(rawHeaders, (name, value, written) => {
    if (HOP_BY_HOP.has(name) || (named.has(name) && name !== "content-length")) return;
    const there = byName.get(name);
    if (there === undefined) byName.set(name, { written, values: [value] });
    else there.values.push(value);
  });
  return new Map([...byName.values()].map(({ written, values }) => [written, values]));
}

/** Which other headers belong to the connection. */
function connectionTokens(rawHeaders: readonly string[]): ReadonlySet<string> {
  const tokens = new Set<string>();
  forEachHeader(rawHeaders, (name, value) => {
    if (name !== "connection") return;
    for (const token of value.split(",")) tokens.add(token.trim().toLowerCase());
  });
  return tokens;
}

function forEachHeader(
  rawHeaders: readonly string[],
  visit: (name: string, value: string, written: string) => void,
): void {
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const written = rawHeaders[i] ?? "";
    visit(written.toLowerCase(), rawHeaders[i + 1] ?? "", written);
  }
}

function portOf(host: string, protocol: string): string {
  return /:([0-9]{1,5})$/.exec(host)?.[1] ?? (protocol === "https" ? "443" : "80");
}
