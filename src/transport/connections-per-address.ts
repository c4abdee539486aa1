/** Closes connections of an address that has too many open, before a byte of them is read. */
import type { Server, Socket } from "node:net";
import type { RateLimits } from "../access/rates/rate-limits.js";
import { addressKey } from "../access/rates/address-key.js";
import { peerAddressOf } from "./proxied-connections.js";
import type { ServiceHost } from "./service-host.js";

export interface ConnectionsPerAddressOptions {
  readonly rates: Pick<RateLimits, "connectionsPerAddress" | "isExempt">;
  /** A listed proxy's connections are those of many. */
  readonly isProxy: (address: string) => boolean;
  readonly log: ServiceHost["log"];
}

/** A crowd must not fill the log: it is told of at most so often. */
const LOG_MS = 10_000;

/** To be called before the server listens, when its own listeners of `connection` are there. */
export function limitConnectionsPerAddress(server: Server, options: ConnectionsPerAddressOptions): void {
  const { rates, isProxy, log } = options;
  const most = rates.connectionsPerAddress;
  if (most === Infinity) return;
  const open = new Map<string, number>();
  let loggedAt = Number.NEGATIVE_INFINITY;
  const listeners = server.listeners("connection");
  server.removeAllListeners("connection");
  server.on("connection", (socket: Socket) => {
    if (!take(socket)) return socket.destroy();
    for (const listener of listeners) Reflect.apply(listener, server, [socket]);
    return socket;
  });
  const take = (socket: Socket): boolean => {
    const address = peerAddressOf(socket);
    if (rates.isExempt(address) || address === undefined || isProxy(address)) return true;
    const key = addressKey(address);
    const count = (open.get(key) ?? 0) + 1;
    if (count > most) {
      const now = performance.now();
      if (now - loggedAt > LOG_MS) {
        loggedAt = now;
        const message = `a connection was closed: its address has ${most} open (rates.connectionsPerAddress)`;
        log({ level: "warn", message, fields: { address } });
      }
      return false;
    }
    open.set(key, count);
    socket.once("close", () => {
      const left = (open.get(key) ?? 1) - 1;
      if (left === 0) open.delete(key);
      else open.set(key, left);
    });
    return true;
  };
}
