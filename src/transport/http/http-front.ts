/** What stands before the handler on a listener, and takes the requests that are not about Git. Types only. */
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import type { HttpRequest, HttpResponse } from "./request-body.js";

export interface HttpFront {
  /** @returns false: it is not for it, and nothing was done */
  request(request: HttpRequest, response: HttpResponse): boolean;
  /** A request of HTTP/1.1 with `Upgrade`. @returns the same; it is then served as if nothing of the kind were asked for */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): boolean;
}

/** What the server knows of a connection that the socket does not tell. */
export interface FrontHost {
  /** At the other end; behind a balancer that speaks the PROXY protocol as the balancer tells it. */
  peerAddressOf(request: HttpRequest): string | undefined;
  /** Is what this address says of its clients believed? */
  isTrustedProxy(peerAddress: string | undefined): boolean;
}
