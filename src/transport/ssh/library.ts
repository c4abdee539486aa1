/**
 * The parts of the ssh2 library that its interface does not show and that its faults are mended with
 * (docs/decisions/ssh-library.md). Nobody else touches them; `checkLibrary` holds them to what is relied on.
 */
import type { Socket } from "node:net";
import { createRequire } from "node:module";
import ssh2, { type Connection, type ServerChannel, type ServerConfig, type Session } from "ssh2";
import { SIGNATURE_ALGORITHMS } from "../../access/ssh-public-key.js";
import { encodeSshString, SshReader } from "../../access/ssh-wire.js";
import { GitwharfError } from "../../base/errors.js";

export interface LibraryProtocol {
  /** Sends at once: the caller looks at the window. */
  channelData(id: number, data: Buffer): void;
  channelExtData(id: number, data: Buffer, type: number): void;
  channelWindowAdjust(id: number, bytes: number): void;
  /** There while keys are exchanged: what is sent waits in memory then. */
  readonly _kexinit: unknown;
  readonly _queue: readonly unknown[] | undefined;
  readonly _kex: { remoteExtInfoEnabled: boolean; readonly _remoteKexinit: Buffer | undefined } | undefined;
  readonly _offer: {
    readonly lists: Readonly<Record<"kex" | "serverHostKey", { readonly array: readonly string[] }>>;
  };
  readonly _strictMode: boolean | undefined;
  readonly _packetRW: {
    readonly write: {
      readonly allocStart: number;
      alloc(payloadBytes: number): Buffer;
      finalize(packet: Buffer): Buffer;
    };
  };
  readonly _cipher: { encrypt(packet: Buffer): void };
  _onHandshakeComplete: (...args: unknown[]) => void;
}

export interface LibraryConnection {
  readonly _sock: Socket;
  readonly _protocol: LibraryProtocol;
}

export interface LibraryChannel {
  readonly incoming: { id: number; window: number; state: "open" | "eof" | "closed" };
  readonly outgoing: {
    id: number;
    window: number;
    packetSize: number;
    state: "open" | "eof" | "closing" | "closed";
  };
  /** True: `_chunkcb` is called when the client opens its window. */
  _waitWindow: boolean;
  _chunk: Buffer | undefined;
  _chunkcb: (() => void) | undefined;
  /** Called with what the client sends; null at its end. */
  push(chunk: Buffer | null): boolean;
}

export const EXTENDED_DATA_STDERR = 1;
const MESSAGE_EXT_INFO = 7;
const MESSAGE_BANNER = 53;

export function connectionParts(connection: Connection): LibraryConnection {
  return connection as unknown as LibraryConnection;
}

export function channelParts(channel: ServerChannel): LibraryChannel {
  return channel as unknown as LibraryChannel;
}

/** The largest packet that the client of a session takes; 0 would send nothing for ever. */
export function packetSizeOf(session: Session): number {
  const parts = session as unknown as {
    readonly _chanInfo: { readonly outgoing: { readonly packetSize: number } };
  };
  return parts._chanInfo.outgoing.packetSize;
}

/**
 * Host keys as the library is to offer them: those of the algorithms, in their order. By itself it offers every key that it
 * is given in the order of the keys, and RSA with SHA-1 besides.
 */
export function hostKeysFor(
  algorithms: readonly string[],
  privateKeys: readonly Buffer[],
): NonNullable<ServerConfig["hostKeys"]> {
  const parsed = privateKeys.map((privateKey) => {
    const key = ssh2.utils.parseKey(privateKey);
    if (key instanceof Error) throw key;
    return Array.isArray(key) ? key[0] : key;
  });
  const offered = algorithms.flatMap((algorithm) => {
    const type = /^rsa-sha2-(?:256|512)$/.test(algorithm) ? "ssh-rsa" : algorithm;
    const key = parsed.find((each) => each?.type === type);
    // Of a key with the name of an algorithm the library asks nothing further.
    return key === undefined
      ? []
      : [{ key: Object.create(key, { type: { value: algorithm } }) as typeof key }];
  });
  // The types know files only.
  return offered as unknown as NonNullable<ServerConfig["hostKeys"]>;
}

/**
 * The library's own list of signature algorithms lacks a comma, which hides two of them, and names SHA-1: this sends the
 * right one in its place.
 */
export function announceSignatureAlgorithms(connection: Connection): void {
  const protocol = connectionParts(connection)._protocol;
  const original = protocol._onHandshakeComplete;
  protocol._onHandshakeComplete = (...args) => {
    protocol._onHandshakeComplete = original;
    const wanted = protocol._kex?.remoteExtInfoEnabled === true;
    if (protocol._kex !== undefined) protocol._kex.remoteExtInfoEnabled = false;
    if (wanted) sendExtensions(protocol);
    original.apply(protocol, args);
  };
}

/**
 * A client may send its half of a key exchange along with its lists, on the guess that the first names of both sides are
 * the same (Dropbear does). The library drops that packet also when the guess is right, and both sides then wait for
 * ever. Specification: RFC 4253, section 7.
 */
export function mendFirstGuess(connection: Connection): void {
  const protocol = connectionParts(connection)._protocol;
  let hasGuessed = false;
  Object.defineProperty(protocol, "_skipNextInboundPacket", {
    set(value: boolean) {
      hasGuessed = value;
    },
    get(): boolean {
      const isDropped = hasGuessed && !isGuessRight(protocol);
      hasGuessed = isDropped;
      return isDropped;
    },
  });
}

/**
 *   OFFSET  SIZE  MEANING
 *   0       1     SSH_MSG_KEXINIT
 *   1       16    cookie
 *   17      …     lists of names: key exchange, host key, …
 */
function isGuessRight({ _kex, _offer: { lists } }: LibraryProtocol): boolean {
  if (_kex?._remoteKexinit === undefined) return false;
  const reader = new SshReader(_kex._remoteKexinit.subarray(17));
  const firstName = (): string | undefined => reader.text().split(",")[0];
  return firstName() === lists.kex.array[0] && firstName() === lists.serverHostKey.array[0];
}

/** RFC 8308. It is the first packet after the keys are new. */
function sendExtensions(protocol: LibraryProtocol): void {
  const payload = Buffer.concat([
    Buffer.from([MESSAGE_EXT_INFO, 0, 0, 0, 1]),
    encodeSshString("server-sig-algs"),
    encodeSshString(SIGNATURE_ALGORITHMS.join(",")),
  ]);
  sendPayload(protocol, payload);
}

/** A line for the person, while signing in: RFC 4252, section 5.4. */
export function sendBanner(connection: Connection, text: string): void {
  const { _protocol: protocol } = connectionParts(connection);
  // While keys are exchanged nothing else may be sent.
  if (protocol._kexinit !== undefined) return;
  sendPayload(
    protocol,
    Buffer.concat([Buffer.from([MESSAGE_BANNER]), encodeSshString(text), encodeSshString("")]),
  );
}

function sendPayload(protocol: LibraryProtocol, payload: Buffer): void {
  const { write } = protocol._packetRW;
  const packet = write.alloc(payload.length);
  payload.copy(packet, write.allocStart);
  protocol._cipher.encrypt(write.finalize(packet));
}

/** @throws server/bad-configuration when another release of the library is installed than the one that was looked into */
export function checkLibrary(): void {
  const { version } = createRequire(import.meta.url)("ssh2/package.json") as { readonly version: string };
  if (version.startsWith("1.17.")) return;
  throw new GitwharfError(
    "server/bad-configuration",
    `the SSH server is written for ssh2 1.17, and ssh2 ${version} is installed; install ssh2@1.17, or switch SSH off`,
  );
}
