/**
 * A listening git:// server: connections by number, drained when closed. Specification: git-daemon; gitprotocol-pack,
 * "Git Transport".
 */
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import type { IsListedAddress } from "../../access/trusted-addresses.js";
import { GitwharfError } from "../../base/errors.js";
import { limitConnectionsPerAddress } from "../connections-per-address.js";
import { holdForProxyHeads } from "../proxied-connections.js";
import { type DaemonConnection, type DaemonOptions, serveConnection } from "./connection.js";

export interface DaemonListenerOptions extends DaemonOptions {
  readonly address: {
    readonly host: string;
    /** 0 takes a free port. */
    readonly port: number;
  };
  /** Balancers that speak the PROXY protocol; undefined: connections are what they are. */
  readonly proxies?: IsListedAddress | undefined;
}

export interface DaemonListener {
  /** `git://127.0.0.1:9418` */
  readonly url: string;
  readonly host: string;
  readonly port: number;
  /** Takes no more connections, lets those with a request finish for `graceMs`, then cuts them off; may be called again. */
  close(graceMs: number): Promise<void>;
}

/** @throws server/bad-configuration when the address is taken */
export async function listenDaemon(options: DaemonListenerOptions): Promise<DaemonListener> {
  const { limits } = options.host;
  const connections = new Map<Socket, DaemonConnection>();
  // Half open: a client may end its side and still read the answer.
  const server = createServer({ noDelay: true, keepAlive: true, allowHalfOpen: true });
  if (Number.isFinite(limits.connectionsMax)) server.maxConnections = Math.max(1, limits.connectionsMax);
  server.on("connection", (socket) => {
    connections.set(socket, serveConnection(socket, options));
    socket.once("close", () => connections.delete(socket));
  });
  limitConnectionsPerAddress(server, {
    rates: options.host.rates,
    isProxy: options.host.isProxy,
    log: (entry) => options.host.log(entry),
  });
  holdForProxyHeads(server, { proxies: options.proxies, limits, log: (entry) => options.host.log(entry) });
  await listen(server, options.address);
  const { address, port } = server.address() as AddressInfo;
  const shown = address.includes(":") ? `[${address}]` : address;
  let closed: Promise<void> | undefined;
  return {
    url: `git://${shown}:${port}`,
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

function listen(server: Server, { host, port }: DaemonListenerOptions["address"]): Promise<void> {
  return new Promise((resolve, reject) => {
    const onError = (cause: NodeJS.ErrnoException): void => {
      const why =
        cause.code === "EADDRINUSE"
          ? "another program listens there; stop it or choose another port"
          : (cause.code ?? cause.message);
      reject(
        new GitwharfError("server/bad-configuration", `cannot listen for git:// on ${host}:${port}: ${why}`, {
          cause,
        }),
      );
    };
    server.once("error", onError);
    server.listen({ host, port }, () => {
      server.off("error", onError);
      resolve();
    });
  });
}
