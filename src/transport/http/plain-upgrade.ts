/**
 * A request that asks for another protocol may be answered as if it had not (RFC 9110, 7.8): git with http.version=HTTP/2 asks every
 * server for it. Node, once anybody listens for upgrades, hands the bare connection over instead. Here the request's head is
 * put back in front of what has not been read, without its wish, and the connection begins anew.
 */
import type { IncomingMessage, Server } from "node:http";
import type { Http2SecureServer } from "node:http2";
import type { Duplex } from "node:stream";

/** To be called before others hold the listeners of connections back. */
export function serveAsPlainRequest(
  server: Server | Http2SecureServer,
): (request: IncomingMessage, socket: Duplex, head: Buffer) => void {
  const isTls = "setSecureContext" in server;
  // Node's own, and no limits of ours: the connection has been counted.
  const [accept] = (server as Server).listeners(isTls ? "secureConnection" : "connection");
  return (request, socket, head) => {
    // Node leaves out what is beyond its limit; where the body ends may be among it.
    if (accept === undefined || socket.destroyed || request.rawHeaders.length >= RAW_HEADERS_MAX) {
      socket.destroy();
      return;
    }
    socket.unshift(Buffer.concat([headWithoutUpgrade(request), head]));
    Reflect.apply(accept, server, [socket]);
  };
}

/** Names and values of as many headers as Node reads of a request: `maxHeadersCount`, when nobody says otherwise. */
const RAW_HEADERS_MAX = 2000;
const WISH = new Set(["upgrade", "http2-settings"]);

function headWithoutUpgrade({ method, url, httpVersion, rawHeaders }: IncomingMessage): Buffer {
  const lines = [`${method} ${url} HTTP/${httpVersion}`];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const [name = "", value = ""] = rawHeaders.slice(i, i + 2);
    const plain = name.toLowerCase();
    if (WISH.has(plain)) continue;
    lines.push(`${name}: ${plain === "connection" ? withoutWish(value) : value}`);
  }
  return Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1");
}

/** `keep-alive` and `close` stay. */
function withoutWish(connection: string): string {
  return connection
    .split(",")
    .map((token) => token.trim())
    .filter((token) => !WISH.has(token.toLowerCase()))
    .join(", ");
}
