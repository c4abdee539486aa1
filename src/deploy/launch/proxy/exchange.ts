/** Requests and answers of an app's callers, over HTTP/1.1 and HTTP/2 alike, and what else is known of them. Types only. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";

export type AppRequest = IncomingMessage | Http2ServerRequest;
export type AppResponse = ServerResponse | Http2ServerResponse;

/** Who sent a request, and by which way. */
export interface RequestOrigin {
  /** At the other end of the connection. */
  readonly peerAddress: string | undefined;
  /** The peer is a listed proxy: what it says of the client is believed. */
  readonly isTrusted: boolean;
  readonly requestId: string;
}

/** How long an app may take. */
export interface ProxyTimes {
  /** To take a connection. */
  readonly connectMs: number;
  /** From the last byte of the request to the head of the answer. */
  readonly answerMs: number;
  /** Without a byte moving in either direction, once the answer has begun. */
  readonly idleMs: number;
}

export const PROXY_TIMES: ProxyTimes = { connectMs: 5000, answerMs: 30_000, idleMs: 120_000 };
