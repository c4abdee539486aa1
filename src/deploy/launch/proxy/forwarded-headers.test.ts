import { describe, expect, it } from "vitest";
import { headersForApp, headersForClient, type RequestHead } from "./forwarded-headers.js";

const origin = { peerAddress: "192.0.2.1", isTrusted: false, requestId: "id-1" };

function forApp(
  rawHeaders: readonly string[],
  given: Partial<RequestHead> = {},
): ReadonlyMap<string, readonly string[]> {
  const flat = headersForApp({
    rawHeaders,
    method: "GET",
    host: "shop.localhost:5000",
    origin,
    isEncrypted: false,
    hasUnknownLength: false,
    ...given,
  });
  const found = new Map<string, string[]>();
  for (let i = 0; i < flat.length; i += 2) {
    const name = (flat[i] ?? "").toLowerCase();
    found.set(name, [...(found.get(name) ?? []), flat[i + 1] ?? ""]);
  }
  return found;
}

describe("headers for the app", () => {
  it("say who calls, by this server's own word", () => {
    const headers = forApp([
      "Host",
      "shop.localhost:5000",
      "X-Forwarded-For",
      "127.0.0.1",
      "X_Forwarded_For",
      "127.0.0.1",
      "x-forwarded-proto",
      "https",
      "X-Forwarded-Prefix",
      "/admin",
      "X-Real-IP",
      "127.0.0.1",
      "Forwarded",
      "for=127.0.0.1",
      "X-Request-Id",
      "theirs",
      "Accept",
      "*/*",
    ]);
    expect(Object.fromEntries(headers)).toEqual({
      host: ["shop.localhost:5000"],
      accept: ["*/*"],
      "x-forwarded-for": ["192.0.2.1"],
      "x-forwarded-proto": ["http"],
      "x-forwarded-host": ["shop.localhost:5000"],
      "x-forwarded-port": ["5000"],
      "x-request-id": ["id-1"],
      connection: ["keep-alive"],
    });
  });

  it("add to what a listed proxy says", () => {
    const headers = forApp(
      [
        "X-Forwarded-For",
        "198.51.100.7",
        "X-Forwarded-For",
        "198.51.100.8",
        "X-Forwarded-Proto",
        "https",
        "X-Forwarded-Host",
        "shop.example",
      ],
      { origin: { ...origin, isTrusted: true }, host: "shop.localhost" },
    );
    expect(headers.get("x-forwarded-for")).toEqual(["198.51.100.7, 198.51.100.8, 192.0.2.1"]);
    expect(headers.get("x-forwarded-proto")).toEqual(["https"]);
    expect(headers.get("x-forwarded-host")).toEqual(["shop.example"]);
    expect(headers.get("x-forwarded-port")).toEqual(["443"]);
  });

  it("leave on the connection what belongs to it", () => {
    const headers = forApp([
      "Connection",
      "keep-alive, X-Secret, Content-Length",
      "X-Secret",
      "1",
      "Keep-Alive",
      "timeout=5",
      "TE",
      "trailers",
      "Proxy-Authorization",
      "Basic x",
      "Upgrade",
      "h2c",
      "HTTP2-Settings",
      "x",
      "Expect",
      "100-continue",
      ":path",
      "/",
      "Content-Length",
      "3",
    ]);
    for (const name of [
      "x-secret",
      "keep-alive",
      "te",
      "proxy-authorization",
      "upgrade",
      "http2-settings",
      "expect",
      ":path",
    ])
      expect(headers.has(name), name).toBe(false);
    expect([headers.get("connection"), headers.get("content-length")]).toEqual([["keep-alive"], ["3"]]);
  });

  it("keep what came twice, in order", () => {
    expect(forApp(["Accept", "a", "Accept", "b"]).get("accept")).toEqual(["a", "b"]);
  });

  it("have one opinion on where a request ends", () => {
    const chunked = forApp(["Content-Length", "3", "Transfer-Encoding", "chunked"], {
      hasUnknownLength: true,
      method: "POST",
    });
    expect([chunked.get("transfer-encoding"), chunked.has("content-length")]).toEqual([["chunked"], false]);
    expect(forApp(["Content-Length", "3", "Content-Length", "3"]).get("content-length")).toEqual(["3"]);
    expect(forApp([], { method: "POST" }).get("content-length")).toEqual(["0"]);
    expect(forApp([], { method: "GET" }).has("content-length")).toBe(false);
  });

  it("ask for a WebSocket when the client does", () => {
    const headers = forApp(["Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Key", "x"], {
      upgrade: "websocket",
    });
    expect([headers.get("connection"), headers.get("upgrade")]).toEqual([["Upgrade"], ["websocket"]]);
    expect(headers.get("sec-websocket-key")).toEqual(["x"]);
  });
});

describe("headers for the client", () => {
  it("keep several cookies apart and leave the connection's own behind", () => {
    const headers = headersForClient([
      "Content-Type",
      "text/plain",
      "Set-Cookie",
      "a=1",
      "set-cookie",
      "b=2",
      "Connection",
      "close, X-Hop",
      "X-Hop",
      "1",
      "Transfer-Encoding",
      "chunked",
      "Keep-Alive",
      "timeout=5",
    ]);
    expect([...headers]).toEqual([
      ["Content-Type", ["text/plain"]],
      ["Set-Cookie", ["a=1", "b=2"]],
    ]);
  });
});
