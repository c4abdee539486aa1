/**
 * A listening SSH server, of whose strangers the oldest makes room for a new one.
 * Specification: RFC 4251 to 4254, RFC 8308, RFC 8332; the protocol itself is ssh2's.
 */
import type { Socket } from "node:net";
import ssh2 from "ssh2";
import type { SshTrust } from "../../access/ssh-trust.js";
import { addressKey } from "../../access/rates/address-key.js";
import { GitwharfError } from "../../base/errors.js";
import type { IsListedAddress } from "../../access/trusted-addresses.js";
import { peerAddressOf } from "../proxied-connections.js";
import type { ServiceHost } from "../service-host.js";
import { listenTcp, type TcpAddress, type TcpListener } from "../tcp-listener.js";
import { libraryAlgorithms, type SshAlgorithms } from "./algorithms.js";
import { createSshConnection, type SshConnection } from "./connection.js";
import type { SshHostKey } from "./host-keys.js";
import type { LfsAuthenticate } from "./lfs-authenticate.js";
import { checkLibrary, connectionParts, hostKeysFor } from "./library.js";
import type { CommandFront } from "./serve-command.js";
import { createStrangers } from "./strangers.js";

export interface SshListenerOptions {
  readonly service: ServiceHost;
  readonly address: TcpAddress;
  readonly hostKeys: readonly SshHostKey[];
  readonly trust: SshTrust;
  /** Connections begin with a head of the PROXY protocol, and come from these addresses only. */
  readonly proxies?: IsListedAddress | undefined;
  readonly algorithms?: SshAlgorithms | undefined;
  readonly lfsAuthenticate?: LfsAuthenticate | undefined;
  /** In place of this server's own repositories. */
  readonly front?: CommandFront | undefined;
}

export interface SshListener extends TcpListener {
  /** Types and fingerprints of the keys by which clients know the server. */
  readonly hostKeys: readonly Pick<SshHostKey, "type" | "fingerprint">[];
}

const KEEP_ALIVE_MISSES_MAX = 3;

/** @throws server/bad-configuration when the address is taken or the keys or algorithms cannot be used */
export async function listenSsh(options: SshListenerOptions): Promise<SshListener> {
  checkLibrary();
  const { service, address, proxies, trust, lfsAuthenticate, front } = options;
  const protocol = createProtocol(options);
  const connections = new Map<Socket, SshConnection>();
  const strangers = createStrangers(service.limits.sshStartupsMax);
  const serve = (socket: Socket): SshConnection => {
    const onLogin = (): void => strangers.remove(socket);
    const connection = createSshConnection(socket, { host: service, trust, lfsAuthenticate, front, onLogin });
    connections.set(socket, connection);
    socket.once("close", () => {
      connections.delete(socket);
      strangers.remove(socket);
    });
    strangers.add(socket, addressKey(service.clientAddressOf(peerAddressOf(socket), [])));
    protocol.injectSocket(socket);
    socket.on("data", () => connection.watch());
    return connection;
  };
  protocol.on("connection", (connection) => {
    connections.get(connectionParts(connection)._sock)?.attach(connection);
  });
  protocol.on("error", (error: unknown) => {
    service.log({ level: "error", message: "the SSH server reports a failure", error });
  });
  const listener = await listenTcp({ transport: "ssh", service, address, proxies, serve });
  return { ...listener, hostKeys: options.hostKeys.map(({ type, fingerprint }) => ({ type, fingerprint })) };
}

function createProtocol({
  hostKeys,
  algorithms,
  service,
}: SshListenerOptions): InstanceType<typeof ssh2.Server> {
  try {
    const lists = libraryAlgorithms(algorithms);
    const offered = hostKeysFor(
      lists.serverHostKey,
      hostKeys.map(({ privateKey }) => privateKey),
    );
    if (offered.length === 0) {
      const message = `the SSH server has no host key for any of ${lists.serverHostKey.join(", ")}`;
      throw new GitwharfError("server/bad-configuration", message);
    }
    return new ssh2.Server({
      hostKeys: offered,
      algorithms: lists,
      ident: service.agent.replace(/[^A-Za-z0-9._/]/g, "_"),
      // The library takes 0 for its own default.
      keepaliveInterval: Math.max(1, Math.min(service.limits.sshKeepAliveMs, 0x7fff_ffff)),
      keepaliveCountMax: KEEP_ALIVE_MISSES_MAX,
    });
  } catch (cause) {
    if (cause instanceof GitwharfError) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new GitwharfError("server/bad-configuration", `the SSH server cannot start: ${why}`, { cause });
  }
}
