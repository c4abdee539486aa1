/**
 * A listener for those who look after the server, apart from the one that is served to clients:
 *
 *   /metrics   Prometheus's text
 *   /healthz   200 as long as the process answers
 *   /readyz    200, or 503 with what is unavailable
 *   /events    what becomes of refs, as server-sent events (where events are on)
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { GitwharfError } from "../base/errors.js";
import { createEventStreams, type EventStreams } from "./event-stream.js";
import type { EventReader } from "./events.js";
import type { ListenAddress } from "./listen-address.js";
import { METRICS_CONTENT_TYPE } from "./metrics.js";
import type { Readiness } from "./readiness.js";

export interface OperationsListener {
  /** `http://127.0.0.1:9090` */
  readonly url: string;
  readonly host: string;
  readonly port: number;
  close(): Promise<void>;
}

export interface OperationsOptions {
  readonly metrics: () => Promise<string>;
  readonly readiness: () => Promise<Readiness>;
  /** undefined: there are none. */
  readonly events?: EventReader | undefined;
  readonly onFailure: (error: unknown) => void;
}

const CONNECTIONS_MAX = 64;
const REQUEST_TIMEOUT_MS = 10_000;

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly text: string;
}

/** @throws server/bad-configuration when the address is taken */
export async function listenForOperations(
  address: ListenAddress,
  options: OperationsOptions,
): Promise<OperationsListener> {
  const streams = options.events === undefined ? undefined : createEventStreams(options.events);
  const server = createServer(
    { connectionsCheckingInterval: REQUEST_TIMEOUT_MS / 4 },
    (request, response) => {
      answerOf(request, response, { ...options, streams })
        .catch((error: unknown): Answer | undefined => {
          options.onFailure(error);
          return plain(500, "failed");
        })
        .then((answer) => {
          if (answer !== undefined && !response.headersSent) send(request, response, answer);
        })
        .catch(options.onFailure);
    },
  );
  server.maxConnections = CONNECTIONS_MAX;
  server.requestTimeout = REQUEST_TIMEOUT_MS;
  server.headersTimeout = REQUEST_TIMEOUT_MS;
  server.keepAliveTimeout = REQUEST_TIMEOUT_MS;
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) => {
      const why = cause.code ?? cause.message;
      const message = `cannot listen for metrics on ${address.host}:${address.port}: ${why}`;
      reject(new GitwharfError("server/bad-configuration", message, { cause }));
    });
    server.listen(address, resolve);
  });
  const { address: host, port } = server.address() as AddressInfo;
  return {
    url: `http://${host.includes(":") ? `[${host}]` : host}:${port}`,
    host,
    port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** undefined: it has been answered. */
async function answerOf(
  request: IncomingMessage,
  response: ServerResponse,
  options: OperationsOptions & { readonly streams: EventStreams | undefined },
): Promise<Answer | undefined> {
  const [path = ""] = (request.url ?? "").split("?", 1);
  const { streams } = options;
  const known = ["/metrics", "/healthz", "/readyz", ...(streams === undefined ? [] : ["/events"])];
  if (!known.includes(path)) return plain(404, "not found");
  if (request.method !== "GET" && request.method !== "HEAD") return plain(405, "GET and HEAD only");
  if (path === "/events" && streams !== undefined) {
    if (request.method === "HEAD") return { status: 200, type: "text/event-stream; charset=utf-8", text: "" };
    const refused = await streams.stream(request, response);
    return refused === undefined ? undefined : plain(refused.status, refused.why);
  }
  if (path === "/metrics") return { status: 200, type: METRICS_CONTENT_TYPE, text: await options.metrics() };
  if (path === "/healthz") return json(200, { alive: true });
  const readiness = await options.readiness();
  return json(readiness.ready ? 200 : 503, readiness);
}

function send(request: IncomingMessage, response: ServerResponse, { status, type, text }: Answer): void {
  if (status === 405) response.setHeader("Allow", "GET, HEAD");
  response.writeHead(status, {
    "Content-Type": type,
    "Content-Length": Buffer.byteLength(text),
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
  });
  response.end(request.method === "HEAD" ? undefined : text);
  request.resume();
}

function plain(status: number, text: string): Answer {
  return { status, type: "text/plain; charset=utf-8", text: `${text}\n` };
}

function json(status: number, value: unknown): Answer {
  return { status, type: "application/json", text: `${JSON.stringify(value)}\n` };
}
