/**
 * A listening SSH server: connections by number, the oldest stranger out first, drained when closed.
 * Specification: RFC 4251 to 4254, RFC 8308, RFC 8332; the protocol itself is ssh2's.
 */
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import ssh2 from "ssh2";
import type { SshTrust } from "../../access/ssh-trust.js";
import { GitwharfError } from "../../base/errors.js";
import type { IsListedAddress } from "../../access/trusted-addresses.js";
import { limitConnectionsPerAddress } from "../connections-per-address.js";
import { holdForProxyHeads } from "../proxied-connections.js";
import type { ServiceHost } from "../service-host.js";
import { libraryAlgorithms, type SshAlgorithms } from "./algorithms.js";
import { createSshConnection, type SshConnection } from "./connection.js";
import type { SshHostKey } from "./host-keys.js";
import type { LfsAuthenticate } from "./lfs-authenticate.js";
import { checkLibrary, connectionParts } from "./library.js";
import type { CommandFront } from "./serve-command.js";

export interface SshListenerOptions {
  readonly service: ServiceHost;
  readonly host: string;
  /** 0 takes a free port. */
  readonly port: number;
  readonly hostKeys: readonly SshHostKey[];
  readonly trust: SshTrust;
  /** Connections begin with a head of the PROXY protocol, and come from these addresses only. */
  readonly proxies?: IsListedAddress | undefined;
  readonly algorithms?: SshAlgorithms | undefined;
  readonly lfsAuthenticate?: LfsAuthenticate | undefined;
  /** In place of this server's own repositories. */
  readonly front?: CommandFront | undefined;
}

export interface SshListener {
  /** `ssh://git@127.0.0.1:5022` */
  readonly url: string;
  readonly host: string;
  readonly port: number;
  /** Types and fingerprints of the keys by which clients know the server. */
  readonly hostKeys: readonly Pick<SshHostKey, "type" | "fingerprint">[];
  /** Takes no more connections and commands, lets commands finish for `graceMs`, then cuts them off; may be called again. */
  close(graceMs: number): Promise<void>;
}

const KEEP_ALIVE_MS = 15_000;
const KEEP_ALIVE_MISSES_MAX = 3;

/** @throws server/bad-configuration when the address is taken or the keys or algorithms cannot be used */
export async function listenSsh(options: SshListenerOptions): Promise<SshListener> {
  checkLibrary();
  const { service, trust, lfsAuthenticate, front } = options;
  const { limits } = service;
  const protocol = createProtocol(options);
  const connections = new Map<Socket, SshConnection>();
  /** Not signed in yet, oldest first. */
  const strangers = new Set<Socket>();
  const server = createServer({ noDelay: true, keepAlive: true });
  if (Number.isFinite(limits.connectionsMax)) server.maxConnections = Math.max(1, limits.connectionsMax);
  server.on("connection", (socket) => {
    const connection = createSshConnection(socket, {
      host: service,
      trust,
      lfsAuthenticate,
      front,
      onLogin: () => strangers.delete(socket),
    });
    connections.set(socket, connection);
    strangers.add(socket);
    socket.once("close", () => {
      connections.delete(socket);
      strangers.delete(socket);
    });
    // A socket that breaks is told by `close`.
    socket.on("error", () => undefined);
    if (strangers.size > limits.sshStartupsMax) strangers.values().next().value?.destroy();
    protocol.injectSocket(socket);
    socket.on("data", () => connection.watch());
  });
  protocol.on("connection", (connection) => {
    connections.get(connectionParts(connection)._sock)?.attach(connection);
  });
  protocol.on("error", (error: unknown) => {
    service.log({ level: "error", message: "the SSH server reports a failure", error });
  });
  limitConnectionsPerAddress(server, {
    rates: service.rates,
    isProxy: service.isProxy,
    log: (entry) => service.log(entry),
  });
  holdForProxyHeads(server, { proxies: options.proxies, limits, log: (entry) => service.log(entry) });
  await listen(server, options);
  const { address, port } = server.address() as AddressInfo;
  const shown = address.includes(":") ? `[${address}]` : address;
  let closed: Promise<void> | undefined;
  return {
    url: `ssh://git@${shown}:${port}`,
    host: address,
    port,
    hostKeys: options.hostKeys.map(({ type, fingerprint }) => ({ type, fingerprint })),
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

function createProtocol({
  hostKeys,
  algorithms,
  service,
}: SshListenerOptions): InstanceType<typeof ssh2.Server> {
  try {
    return new ssh2.Server({
      hostKeys: hostKeys.map(({ privateKey }) => privateKey),
      algorithms: libraryAlgorithms(algorithms),
      ident: service.agent.replace(/[^A-Za-z0-9._/]/g, "_"),
      keepaliveInterval: KEEP_ALIVE_MS,
      keepaliveCountMax: KEEP_ALIVE_MISSES_MAX,
    });
  } catch (cause) {
    if (cause instanceof GitwharfError) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new GitwharfError("server/bad-configuration", `the SSH server cannot start: ${why}`, { cause });
  }
}

function listen(server: Server, { host, port }: SshListenerOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    const onError = (cause: NodeJS.ErrnoException): void => {
      const why =
        cause.code === "EADDRINUSE"
          ? "another program listens there; stop it, choose another port or switch SSH off"
          : (cause.code ?? cause.message);
      reject(
        new GitwharfError("server/bad-configuration", `cannot listen for SSH on ${host}:${port}: ${why}`, {
          cause,
          details: { sshAddressTaken: cause.code === "EADDRINUSE" },
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
