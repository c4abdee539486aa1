/**
 * Connections behind a balancer that speaks the PROXY protocol: none is served before its head has come, and none that
 * does not come from a listed address.
 */
import type { Server, Socket } from "node:net";
import type { IsListedAddress } from "../access/trusted-addresses.js";
import type { Limits } from "../base/limits.js";
import { parseProxyHead, PROXY_HEAD_BYTES_MAX } from "./proxy-protocol.js";
import type { ServiceHost } from "./service-host.js";

interface HoldOptions {
  /** undefined: connections are what they are. */
  readonly proxies?: IsListedAddress | undefined;
  readonly limits: Pick<Limits, "headerTimeoutMs">;
  readonly log: ServiceHost["log"];
}

interface ReadOptions {
  readonly timeoutMs: number;
  readonly refuse: (socket: Socket, why: string) => void;
}

/** A crowd must not fill the log: it is told of at most so often. */
const REFUSED_LOG_MS = 10_000;

type Ends = Pick<Socket, "remoteAddress" | "remotePort" | "localAddress" | "localPort">;

/** Addresses that balancers have told, by both ends of the connection: TLS and HTTP/2 hide the socket itself. */
const toldAddresses = new Map<string, string>();

/** Who is at the other end: as the balancer has told it, or as the system knows it. */
export function peerAddressOf(socket: Ends): string | undefined {
  return (toldAddresses.size === 0 ? undefined : toldAddresses.get(endsOf(socket))) ?? socket.remoteAddress;
}

/** To be called before the server listens, when all listeners of `connection` are there: they are held back. */
export function holdForProxyHeads(server: Server, { proxies, limits, log }: HoldOptions): void {
  if (proxies === undefined) return;
  const listeners = server.listeners("connection");
  server.removeAllListeners("connection");
  let loggedAt = Number.NEGATIVE_INFINITY;
  const refuse = (socket: Socket, why: string): void => {
    const address = socket.remoteAddress;
    socket.destroy();
    const now = performance.now();
    if (now - loggedAt < REFUSED_LOG_MS) return;
    loggedAt = now;
    log({ level: "warn", message: `a connection was refused: ${why}`, fields: { address } });
  };
  server.on("connection", (socket: Socket) => {
    // A socket that breaks is told by `close`.
    socket.on("error", () => undefined);
    const peer = socket.remoteAddress;
    if (peer === undefined || !proxies(peer))
      return refuse(socket, "it does not come from a trusted proxy (trustedProxies)");
    readHead(socket, { timeoutMs: limits.headerTimeoutMs, refuse }, (address) => {
      if (address !== undefined) remember(socket, address);
      for (const listener of listeners) Reflect.apply(listener, server, [socket]);
    });
  });
}

function remember(socket: Socket, address: string): void {
  const ends = endsOf(socket);
  toldAddresses.set(ends, address);
  socket.once("close", () => toldAddresses.delete(ends));
}

function readHead(
  socket: Socket,
  { timeoutMs, refuse }: ReadOptions,
  then: (address: string | undefined) => void,
): void {
  let bytes = Buffer.alloc(0);
  const stop = (): void => {
    clearTimeout(timer);
    socket.off("readable", onReadable);
    socket.off("close", stop);
  };
  const giveUp = (why: string): void => {
    stop();
    refuse(socket, why);
  };
  const onReadable = (): void => {
    const chunk = socket.read() as Buffer | null;
    if (chunk === null) return;
    bytes = Buffer.concat([bytes, chunk]);
    const head = parseProxyHead(bytes.subarray(0, PROXY_HEAD_BYTES_MAX));
    if (head === "incomplete") return;
    if (head === "malformed") return giveUp("it does not begin with a head of the PROXY protocol");
    stop();
    const rest = bytes.subarray(head.length);
    if (rest.length > 0) socket.unshift(rest);
    // The stream forgets that it was read this way in the next tick, and would then flow before anybody listens.
    process.nextTick(() => {
      if (!socket.destroyed) then(head.address);
    });
  };
  const timer =
    timeoutMs > 0x7fff_ffff
      ? undefined
      : setTimeout(() => giveUp("its head of the PROXY protocol did not come in time"), timeoutMs);
  socket.on("readable", onReadable);
  socket.once("close", stop);
}

function endsOf({ remoteAddress, remotePort, localAddress, localPort }: Ends): string {
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`;
}
