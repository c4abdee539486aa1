/**
 * A listening HTTP server: plain HTTP/1.1, or TLS with HTTP/2 and HTTP/1.1 by ALPN; certificates reloaded without
 * a restart; drained when closed.
 */
import { readFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { createSecureServer, type Http2SecureServer, type ServerHttp2Session } from "node:http2";
import type { AddressInfo, Socket } from "node:net";
import type { Duplex } from "node:stream";
import { GitwharfError } from "../../base/errors.js";
import type { Limits } from "../../base/limits.js";
import type { IsListedAddress } from "../../access/trusted-addresses.js";
import { type ConnectionsPerAddressOptions, limitConnectionsPerAddress } from "../connections-per-address.js";
import { holdForProxyHeads } from "../proxied-connections.js";
import type { HttpHandler } from "./handler.js";
import type { HttpFront } from "./http-front.js";
import { serveAsPlainRequest } from "./plain-upgrade.js";
import { awaitingContinue } from "./request-body.js";

export interface TlsFiles {
  /** PEM files, read again by `reloadCertificate`. */
  readonly certificateFile: string;
  readonly keyFile: string;
  /** Authorities whose client certificates are asked for. A caller without one is let through to sign in otherwise. */
  readonly clientCaFile?: string;
}

export interface HttpListenerOptions extends ConnectionsPerAddressOptions {
  readonly handler: HttpHandler;
  /** Asked first: what it takes is none of the handler's business. */
  readonly front?: HttpFront | undefined;
  readonly host: string;
  /** 0 takes a free port. */
  readonly port: number;
  readonly tls?: TlsFiles;
  /** Connections begin with a head of the PROXY protocol, and come from these addresses only. */
  readonly proxies?: IsListedAddress | undefined;
  readonly limits: Pick<Limits, "headerTimeoutMs" | "idleTimeoutMs" | "connectionsMax">;
}

export interface HttpListener {
  /** `http://127.0.0.1:5000` */
  readonly url: string;
  readonly host: string;
  readonly port: number;
  /** Reads the certificate files again; connections that stand keep theirs. @throws server/bad-configuration */
  reloadCertificate(): Promise<void>;
  /** Takes no more connections, lets requests finish for `graceMs`, then cuts them off. A second call may shorten that. */
  close(graceMs: number): Promise<void>;
}

/** @throws server/bad-configuration when the address is taken or the certificate cannot be used */
export async function listenHttp(options: HttpListenerOptions): Promise<HttpListener> {
  const headerTimeoutMs = timerMs(options.limits.headerTimeoutMs);
  const server =
    options.tls === undefined ? createServer() : await createTlsServer(options.tls, headerTimeoutMs);
  const connections = new Set<Socket | ServerHttp2Session>();
  const track = (connection: Socket | ServerHttp2Session): void => {
    connections.add(connection);
    connection.once("close", () => connections.delete(connection));
  };
  server.on("connection", (socket: Socket) => {
    // Small answers must not wait for the acknowledgement of the one before.
    socket.setNoDelay(true);
    track(socket);
  });
  limitConnections(server, options);
  if (options.tls !== undefined) {
    const idleTimeoutMs = timerMs(options.limits.idleTimeoutMs);
    (server as Http2SecureServer).on("session", (session) => {
      track(session);
      session.setTimeout(idleTimeoutMs, () => session.close());
    });
    // A handshake that fails is the peer's business.
    server.on("tlsClientError", (_error, socket) => socket.destroy());
  }
  let closing = false;
  /** Requests that are not answered yet, of connections of HTTP/1.1. */
  const atWork = new WeakMap<object, number>();
  const handle: HttpHandler = (request, response) => {
    if (request.httpVersionMajor === 1) {
      // Whoever was answered while the server stops must not keep it up with a connection that stays open.
      const { socket } = request;
      atWork.set(socket, (atWork.get(socket) ?? 0) + 1);
      response.once("close", () => {
        atWork.set(socket, (atWork.get(socket) ?? 1) - 1);
        if (closing) socket.end();
      });
    }
    if (options.front?.request(request, response) !== true) options.handler(request, response);
  };
  server.on("request", handle);
  server.on("checkContinue", (request, response) => {
    awaitingContinue.add(request);
    handle(request, response);
  });
  const { front } = options;
  /** Connections that speak another protocol by now: there is no request that could finish. */
  const upgraded = new Set<Duplex>();
  if (front !== undefined) {
    // Without a listener Node takes such requests for plain ones; with one all of them come here.
    const beginAgain = serveAsPlainRequest(server);
    server.on("upgrade", (request, socket, head) => {
      // Nobody does this who waits for his answers; Node would send them out of order.
      if ((atWork.get(socket) ?? 0) > 0) socket.destroy();
      else if (front.upgrade(request, socket, head)) {
        upgraded.add(socket);
        socket.once("close", () => upgraded.delete(socket));
        if (closing) socket.destroy();
      } else beginAgain(request, socket, head);
    });
  }
  if ("headersTimeout" in server) {
    server.headersTimeout = headerTimeoutMs;
    Object.assign(server, { connectionsCheckingInterval: checkingIntervalMs(headerTimeoutMs) });
    // A push takes as long as it takes; a stalled one is ended by the idle time-out.
    server.requestTimeout = 0;
    server.keepAliveTimeout = 15_000;
  }
  limitConnectionsPerAddress(server, options);
  holdForProxyHeads(server, options);
  await listen(server, options);
  const { address, port } = server.address() as AddressInfo;
  const shown = address.includes(":") ? `[${address}]` : address;
  let closed: Promise<void> | undefined;
  return {
    url: `${options.tls === undefined ? "http" : "https"}://${shown}:${port}`,
    host: address,
    port,
    async reloadCertificate() {
      if (options.tls === undefined) return;
      const files = await readTlsFiles(options.tls);
      try {
        (server as Http2SecureServer).setSecureContext(files);
      } catch (cause) {
        throw unusableCertificate(options.tls, cause);
      }
    },
    close(graceMs) {
      closing = true;
      const timer = setTimeout(
        () => {
          for (const connection of connections) connection.destroy();
        },
        Math.min(graceMs, TIMER_MS_MAX),
      );
      closed ??= new Promise((resolve) => {
        server.close(() => resolve());
        if ("closeIdleConnections" in server) server.closeIdleConnections();
        for (const connection of connections) if ("goaway" in connection) connection.close();
        for (const socket of upgraded) socket.destroy();
      });
      void closed.then(() => clearTimeout(timer));
      return closed;
    },
  };
}

/** A crowd must not fill the log: it is told of at most so often. */
const TURNED_AWAY_LOG_MS = 10_000;

function limitConnections(
  server: Server | Http2SecureServer,
  { limits: { connectionsMax }, log }: HttpListenerOptions,
): void {
  if (!Number.isFinite(connectionsMax)) return;
  server.maxConnections = connectionsMax;
  // Which Node 20 takes for no limit.
  if (connectionsMax === 0) server.prependListener("connection", (socket: Socket) => socket.destroy());
  let turnedAway = 0;
  let loggedAt = Number.NEGATIVE_INFINITY;
  server.on("drop", () => {
    turnedAway++;
    const now = performance.now();
    if (now - loggedAt < TURNED_AWAY_LOG_MS) return;
    loggedAt = now;
    log({
      level: "warn",
      message: `a connection was turned away: ${connectionsMax} are open, the server's limit (connectionsMax)`,
      fields: { turnedAway },
    });
  });
}
/** Requests of one HTTP/2 connection at once. Node sets no bound. */
const STREAMS_MAX = 500;
const TIMER_MS_MAX = 0x7fff_ffff;

/** Node takes 0 for a time-out that is off, and no more than 31 bits. */
function timerMs(limitMs: number): number {
  return limitMs > TIMER_MS_MAX ? 0 : Math.max(1, Math.ceil(limitMs));
}

/** How often Node looks for heads that are overdue: its own 30 seconds would make a short time-out a long one. */
function checkingIntervalMs(headerTimeoutMs: number): number {
  return headerTimeoutMs === 0 ? 30_000 : Math.min(30_000, Math.max(20, Math.ceil(headerTimeoutMs / 4)));
}

async function createTlsServer(tls: TlsFiles, handshakeTimeoutMs: number): Promise<Http2SecureServer> {
  const context = await readTlsFiles(tls);
  try {
    return createSecureServer({
      ...context,
      allowHTTP1: true,
      // Whether a certificate is good is told in words, to the request.
      ...(context.ca === undefined ? {} : { requestCert: true, rejectUnauthorized: false }),
      minVersion: "TLSv1.2",
      settings: { maxConcurrentStreams: STREAMS_MAX },
      ...(handshakeTimeoutMs === 0 ? {} : { handshakeTimeout: handshakeTimeoutMs }),
    });
  } catch (cause) {
    throw unusableCertificate(tls, cause);
  }
}

function unusableCertificate(tls: TlsFiles, cause: unknown): GitwharfError {
  const message = `the certificate in ${tls.certificateFile} cannot be used with the key in ${tls.keyFile}`;
  return new GitwharfError("server/bad-configuration", message, { cause });
}

interface TlsContext {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly ca?: Buffer;
}

async function readTlsFiles(tls: TlsFiles): Promise<TlsContext> {
  try {
    const [cert, key] = await Promise.all([readFile(tls.certificateFile), readFile(tls.keyFile)]);
    return tls.clientCaFile === undefined
      ? { cert, key }
      : { cert, key, ca: await readFile(tls.clientCaFile) };
  } catch (cause) {
    throw new GitwharfError(
      "server/bad-configuration",
      `the certificate ${tls.certificateFile}, its key ${tls.keyFile}` +
        `${tls.clientCaFile === undefined ? "" : ` or the authorities ${tls.clientCaFile}`} cannot be read`,
      { cause },
    );
  }
}

function listen(server: Server | Http2SecureServer, options: { host: string; port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    const onError = (cause: NodeJS.ErrnoException): void => {
      const why =
        cause.code === "EADDRINUSE"
          ? "another program listens there; stop it or choose another port"
          : (cause.code ?? cause.message);
      reject(
        new GitwharfError(
          "server/bad-configuration",
          `cannot listen on ${options.host}:${options.port}: ${why}`,
          {
            cause,
          },
        ),
      );
    };
    server.once("error", onError);
    server.listen({ host: options.host, port: options.port }, () => {
      server.off("error", onError);
      resolve();
    });
  });
}
