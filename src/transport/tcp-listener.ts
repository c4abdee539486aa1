/**
 * What listeners whose connections we serve from their first byte have in common: connections by number and by address,
 * heads of the PROXY protocol, an address that may be taken, and an end that lets work finish. Not here: HTTP, whose
 * sockets are Node's.
 */
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import type { IsListedAddress } from "../access/trusted-addresses.js";
import { GitwharfError } from "../base/errors.js";
import { limitConnectionsPerAddress } from "./connections-per-address.js";
import { holdForProxyHeads } from "./proxied-connections.js";
import type { ServiceHost } from "./service-host.js";

export interface TcpAddress {
  readonly host: string;
  /** 0 takes a free port. */
  readonly port: number;
}

export interface TcpConnection {
  /** No more requests: closed at once when none is at work, else when the last has ended. */
  drain(): void;
  destroy(): void;
}

export interface TcpListenerOptions {
  readonly transport: keyof typeof TRANSPORTS;
  readonly service: ServiceHost;
  readonly address: TcpAddress;
  /** Connections begin with a head of the PROXY protocol, and come from these addresses only. */
  readonly proxies?: IsListedAddress | undefined;
  /** A client may end its side and still read the answer. @default false */
  readonly allowHalfOpen?: boolean;
  readonly serve: (socket: Socket) => TcpConnection;
}

export interface TcpListener {
  /** `git://127.0.0.1:9418`, `ssh://git@127.0.0.1:5022` */
  readonly url: string;
  readonly host: string;
  readonly port: number;
  /** Takes no more connections, lets those at work finish for `graceMs`, then cuts them off; may be called again. */
  close(graceMs: number): Promise<void>;
}

const TRANSPORTS = {
  ssh: { name: "SSH", urlStart: "ssh://git@", whenTaken: "stop it, choose another port or switch SSH off" },
  git: { name: "git://", urlStart: "git://", whenTaken: "stop it or choose another port" },
} as const;

/** @throws server/bad-configuration when it cannot listen there, with `taken` in its details when another program does */
export async function listenTcp(options: TcpListenerOptions): Promise<TcpListener> {
  const { service, proxies, transport } = options;
  const { limits } = service;
  const connections = new Map<Socket, TcpConnection>();
  const server = createServer({
    noDelay: true,
    keepAlive: true,
    allowHalfOpen: options.allowHalfOpen ?? false,
  });
  if (Number.isFinite(limits.connectionsMax)) server.maxConnections = Math.max(1, limits.connectionsMax);
  server.on("connection", (socket) => {
    // A socket that breaks is told by `close`.
    socket.on("error", () => undefined);
    connections.set(socket, options.serve(socket));
    socket.once("close", () => connections.delete(socket));
  });
  const log: ServiceHost["log"] = (entry) => service.log(entry);
  limitConnectionsPerAddress(server, { rates: service.rates, isProxy: service.isProxy, log });
  holdForProxyHeads(server, { proxies, limits, log });
  await listen(server, options);
  const { address, port } = server.address() as AddressInfo;
  const shown = address.includes(":") ? `[${address}]` : address;
  let closed: Promise<void> | undefined;
  return {
    url: `${TRANSPORTS[transport].urlStart}${shown}:${port}`,
    host: address,
    port,
    close(graceMs) {
      const timer = setTimeout(
        () => {
          for (const connection of connections.values()) connection.destroy();
        },
        Math.min(graceMs, 0x7fff_ffff),
      );
      closed ??= new Promise((resolve) => {
        server.close(() => resolve());
        for (const connection of connections.values()) connection.drain();
      });
      void closed.then(() => clearTimeout(timer));
      return closed;
    },
  };
}

function listen(server: Server, { address: { host, port }, transport }: TcpListenerOptions): Promise<void> {
  const { name, whenTaken } = TRANSPORTS[transport];
  return new Promise((resolve, reject) => {
    const onError = (cause: NodeJS.ErrnoException): void => {
      const isTaken = cause.code === "EADDRINUSE";
      const why = isTaken ? `another program listens there; ${whenTaken}` : (cause.code ?? cause.message);
      reject(
        new GitwharfError(
          "server/bad-configuration",
          `cannot listen for ${name} on ${host}:${port}: ${why}`,
          {
            cause,
            details: isTaken ? { taken: transport } : {},
          },
        ),
      );
    };
    server.once("error", onError);
    server.listen({ host, port }, () => {
      server.off("error", onError);
      resolve();
    });
  });
}
