/** A listening git:// server. Specification: git-daemon; gitprotocol-pack, "Git Transport". */
import type { IsListedAddress } from "../../access/trusted-addresses.js";
import { listenTcp, type TcpAddress, type TcpListener } from "../tcp-listener.js";
import { type DaemonOptions, serveConnection } from "./connection.js";

export interface DaemonListenerOptions extends DaemonOptions {
  readonly address: TcpAddress;
  /** Balancers that speak the PROXY protocol; undefined: connections are what they are. */
  readonly proxies?: IsListedAddress | undefined;
}

export type DaemonListener = TcpListener;

/** @throws server/bad-configuration when the address is taken */
export function listenDaemon(options: DaemonListenerOptions): Promise<DaemonListener> {
  const { host: service, address, proxies } = options;
  return listenTcp({
    transport: "git",
    service,
    address,
    proxies,
    allowHalfOpen: true,
    serve: (socket) => serveConnection(socket, options),
  });
}
