/**
 * One SSH connection from its first byte: signing in by a deadline, sessions by number, and what a client can do to
 * a server below all that: silence, floods of requests whose answers it does not read, key exchanges without end.
 */
import type { Socket } from "node:net";
import type { Connection } from "ssh2";
import type { SshTrust } from "../../access/ssh-trust.js";
import { peerAddressOf } from "../proxied-connections.js";
import type { ServiceHost } from "../service-host.js";
import { needsStrictKeyExchange } from "./algorithms.js";
import { authenticate, type SshLogin } from "./authentication.js";
import type { LfsAuthenticate } from "./lfs-authenticate.js";
import { announceSignatureAlgorithms, connectionParts, mendFirstGuess, packetSizeOf } from "./library.js";
import type { CommandFront } from "./serve-command.js";
import { serveSession } from "./session.js";

export interface SshConnectionOptions {
  readonly host: ServiceHost;
  readonly trust: SshTrust;
  readonly lfsAuthenticate: LfsAuthenticate | undefined;
  readonly front: CommandFront | undefined;
  readonly onLogin: () => void;
}

export interface SshConnection {
  /** The library has read the client's first line and made this of the socket. */
  attach(connection: Connection): void;
  /** No more commands: closed at once when none is running, else when the last has ended. */
  drain(): void;
  destroy(): void;
  /** To be called when bytes have arrived. */
  watch(): void;
}

/** Bytes of the line by which a client says which program it is. */
const HEAD_BYTES_MAX = 16 * 1024;
/** Bytes before signing in: key exchange, and each key of an agent twice. */
const LOGIN_BYTES_MAX = 512 * 1024;
/** Bytes of answers that a client may leave unread before it is heard no further. */
const UNREAD_BYTES_MAX = 1024 * 1024;
/** Packets that may wait for the end of a key exchange. */
const QUEUED_PACKETS_MAX = 4096;
/** A key exchange costs a server as much as moving so many bytes; those before the first are given. */
const BYTES_PER_KEY_EXCHANGE = 16 * 1024;
const KEY_EXCHANGES_GIVEN = 64;
const PACKET_BYTES_MIN = 256;
/** Time for a last message to get out. */
const LAST_WORDS_MS = 1000;

export function createSshConnection(socket: Socket, options: SshConnectionOptions): SshConnection {
  const { host } = options;
  const { limits } = host;
  const address = host.clientAddressOf(peerAddressOf(socket), []);
  let connection: Connection | undefined;
  let login: SshLogin | undefined;
  let sessions = 0;
  let running = 0;
  let draining = false;
  let idle: NodeJS.Timeout | undefined;
  /** Bytes that had moved when the keys of now were new. */
  let movedAtKeys = 0;
  const moved = (): number => socket.bytesRead + socket.bytesWritten;

  const deadline = timer(limits.sshLoginTimeoutMs, () => giveUp("it did not sign in in time"));
  const giveUp = (why: string): void => {
    if (socket.destroyed) return;
    host.log({ level: "info", message: `an SSH connection was closed: ${why}`, fields: { address } });
    end();
    // What it still sends is not looked at any more: a command could be among it.
    socket.removeAllListeners("data");
    socket.resume();
  };
  const end = (): void => {
    try {
      connection?.end();
    } catch {
      // It has ended.
    }
    const last = setTimeout(() => socket.destroy(), connection === undefined ? 0 : LAST_WORDS_MS);
    last.unref();
    socket.once("close", () => clearTimeout(last));
  };
  const becomeIdle = (): void => {
    clearTimeout(idle);
    if (running > 0 || login === undefined) return;
    if (draining) end();
    else idle = timer(limits.idleTimeoutMs, end);
  };
  socket.once("close", () => {
    clearTimeout(deadline);
    clearTimeout(idle);
  });

  const watch = (): void => {
    if (connection === undefined) {
      if (socket.bytesRead > HEAD_BYTES_MAX) socket.destroy();
      return;
    }
    if (login === undefined && socket.bytesRead > LOGIN_BYTES_MAX)
      giveUp("it sent too much before signing in");
    const { _protocol: protocol } = connectionParts(connection);
    if ((protocol._queue?.length ?? 0) > QUEUED_PACKETS_MAX) {
      giveUp("it does not finish its key exchange");
      socket.destroy();
    }
    // The library does not think of it by itself, and not every client does.
    if (
      login !== undefined &&
      protocol._kexinit === undefined &&
      moved() - movedAtKeys > limits.sshKeyBytesMax
    ) {
      movedAtKeys = moved();
      connection.rekey();
    }
    if (socket.writableLength > UNREAD_BYTES_MAX && !socket.isPaused()) {
      socket.pause();
      socket.once("drain", () => socket.resume());
    }
  };

  const serve = (attached: Connection, signedIn: SshLogin): void => {
    attached.on("session", (accept, reject) => {
      if (draining || sessions >= limits.sshSessionsMax) return reject();
      const session = accept();
      // The library would send packets of no bytes for ever.
      if (packetSizeOf(session) < PACKET_BYTES_MIN) {
        giveUp("it takes no packets of a useful size");
        return socket.destroy();
      }
      sessions++;
      session.once("close", () => sessions--);
      serveSession(session, {
        host,
        connection: attached,
        login: signedIn,
        address,
        lfsAuthenticate: options.lfsAuthenticate,
        front: options.front,
        urlPrefix: urlPrefixOf(socket, signedIn.user),
        onViolation: (why) => {
          giveUp(why);
          socket.destroy();
        },
        begin() {
          running++;
          clearTimeout(idle);
          return () => {
            running--;
            becomeIdle();
          };
        },
      });
    });
  };

  return {
    attach(attached) {
      connection = attached;
      announceSignatureAlgorithms(attached);
      mendFirstGuess(attached);
      attached.on("error", () => end());
      let keyExchanges = 0;
      attached.on("handshake", ({ cs, sc }) => {
        const { _strictMode: isStrict } = connectionParts(attached)._protocol;
        const needed = [cs, sc].some(({ cipher, mac }) => needsStrictKeyExchange(cipher, mac));
        if (needed && isStrict !== true)
          giveUp("its algorithms need strict key exchange, which it does not know");
        movedAtKeys = moved();
        if (++keyExchanges > KEY_EXCHANGES_GIVEN + movedAtKeys / BYTES_PER_KEY_EXCHANGE) {
          giveUp("it exchanges keys without end");
        }
      });
      authenticate({
        host,
        trust: options.trust,
        connection: attached,
        address,
        onGiveUp: giveUp,
        isGone: () => socket.destroyed || !socket.writable,
        onLogin(signedIn) {
          const release = host.rates.holdConnection(signedIn.identity);
          if (socket.closed) release();
          else socket.once("close", release);
          login = signedIn;
          clearTimeout(deadline);
          options.onLogin();
          serve(attached, signedIn);
          becomeIdle();
        },
      });
    },
    drain() {
      draining = true;
      if (login === undefined) end();
      else becomeIdle();
    },
    destroy: () => socket.destroy(),
    watch,
  };
}

function urlPrefixOf(socket: Socket, user: string): string {
  const { localAddress = "localhost", localPort = 22 } = socket;
  const shown = localAddress.includes(":") ? `[${localAddress}]` : localAddress;
  const name = /^[A-Za-z0-9._-]+$/.test(user) ? user : "git";
  return `ssh://${name}@${shown}:${localPort}/`;
}

/** `Infinity` is no deadline. */
function timer(ms: number, then: () => void): NodeJS.Timeout | undefined {
  return ms > 0x7fff_ffff ? undefined : setTimeout(then, ms);
}
