/**
 * One SSH channel as a byte source and two byte sinks. In place of the library's streams, which mix up standard output
 * and standard error when the client is slow, lose what was written right before the exit status, never call back on
 * a closed channel, and heed the channel's window but not the socket (docs/decisions/ssh-library.md).
 *
 * All that is sent goes through one queue, in order, and waits for the client's window, for the socket and for
 * a running key exchange.
 */
import { setTimeout as setTimeoutPromise } from "node:timers/promises";
import type { Connection, ServerChannel } from "ssh2";
import type { ByteSink, ByteSource } from "../../base/byte-streams.js";
import { abortedError, GitwharfError } from "../../base/errors.js";
import { channelParts, connectionParts, EXTENDED_DATA_STDERR } from "./library.js";

export interface ChannelStreams {
  /** What the client sends, until it ends its side. For one reader. */
  readonly input: ByteSource;
  readonly output: ByteSink;
  readonly errors: ByteSink;
  /** Once nobody reads `input` any more: what the client still sends is thrown away, until it ends its side or the time is over. */
  discard(milliseconds: number): Promise<void>;
  /** Sends the exit status behind everything else and closes the channel. Never throws; false: the client had left. */
  exit(status: number): Promise<boolean>;
}

export interface ChannelStreamsOptions {
  readonly connection: Connection;
  readonly channel: ServerChannel;
  readonly idleTimeoutMs: number;
  readonly signal: AbortSignal;
  /** The client breaks the rules: its connection is to be cut off. */
  readonly onViolation: (why: string) => void;
}

const WINDOW_BYTES = 2 * 1024 * 1024;
const PACKET_BYTES_MAX = 32 * 1024;
/** Shorter pieces of input are put together into slabs. */
const SMALL_BYTES = 4096;
const SLAB_BYTES = 64 * 1024;
/** Bytes that may wait in the socket. */
const SOCKET_BYTES_MAX = 256 * 1024;

export function createChannelStreams(options: ChannelStreamsOptions): ChannelStreams {
  const input = createInput(options);
  const out = createOutput(options);
  return {
    input: input(),
    output: { write: (...chunks) => out.write(chunks, false) },
    errors: { write: (...chunks) => out.write(chunks, true) },
    async discard(milliseconds) {
      const over = new AbortController();
      const ended = (async () => {
        for await (const _ of input()) if (over.signal.aborted) return;
      })().catch(() => undefined);
      const timer = setTimeoutPromise(milliseconds, undefined, { signal: over.signal }).catch(
        () => undefined,
      );
      await Promise.race([ended, timer]);
      over.abort();
    },
    exit: out.exit,
  };
}

type Waiter = (error?: GitwharfError) => void;

/** Calls once when one of the reasons to stop waiting comes up. */
function createWait(
  options: ChannelStreamsOptions,
  idleText: string,
): (register: (waiter: Waiter) => () => void) => Promise<void> {
  const { channel, connection, signal, idleTimeoutMs } = options;
  return (register) =>
    new Promise((resolve, reject) => {
      const settle: Waiter = (error) => {
        clearTimeout(timer);
        unregister();
        channel.off("close", onClose);
        connection.off("close", onClose);
        signal.removeEventListener("abort", onAbort);
        if (error === undefined) resolve();
        else reject(error);
      };
      const onClose = (): void => settle(gone());
      const onAbort = (): void => settle(abortedError(signal));
      const timer = Number.isFinite(idleTimeoutMs)
        ? setTimeout(() => {
            settle(
              new GitwharfError("base/aborted", `the client ${idleText} for ${idleTimeoutMs / 1000} seconds`),
            );
            options.onViolation("time-out");
          }, idleTimeoutMs)
        : undefined;
      channel.once("close", onClose);
      connection.once("close", onClose);
      signal.addEventListener("abort", onAbort, { once: true });
      const unregister = register(settle);
    });
}

function createInput(options: ChannelStreamsOptions): () => ByteSource {
  const { channel, connection, signal } = options;
  const parts = channelParts(channel);
  const { _protocol: protocol } = connectionParts(connection);
  const held = createHeldBytes();
  let ended = false;
  let waiting: Waiter | undefined;
  const libraryPush = parts.push.bind(channel);
  // Bytes are kept here, not in the library's stream; its end still goes there, so that the library closes what it
  // opened.
  parts.push = (chunk) => {
    if (chunk === null) {
      ended = true;
      waiting?.();
      const pushed = libraryPush(null);
      channel.resume();
      return pushed;
    }
    if (parts.incoming.window < 0) {
      options.onViolation("it sent more than it was allowed to");
      return false;
    }
    if (!ended) held.add(chunk);
    waiting?.();
    return false;
  };
  const openWindow = (): void => {
    if (parts.incoming.state !== "open" || ["closing", "closed"].includes(parts.outgoing.state)) return;
    const room = WINDOW_BYTES - held.bytes - parts.incoming.window;
    if (room < WINDOW_BYTES / 2) return;
    parts.incoming.window += room;
    tryToSend(() => protocol.channelWindowAdjust(parts.outgoing.id, room));
  };
  const wait = createWait(options, "sent nothing");
  return async function* read() {
    for (;;) {
      if (signal.aborted) throw abortedError(signal);
      const chunk = held.take();
      if (chunk !== undefined) {
        openWindow();
        yield chunk;
        continue;
      }
      if (ended) return;
      await wait((waiter) => {
        waiting = waiter;
        return () => (waiting = undefined);
      });
    }
  };
}

/**
 * Bytes that nobody has read yet. Small pieces are put together: the window bounds bytes, and a client could send each
 * of them in a packet of its own.
 */
function createHeldBytes(): { readonly bytes: number; add(chunk: Buffer): void; take(): Buffer | undefined } {
  const chunks: Buffer[] = [];
  let slab: Buffer | undefined;
  let slabUsed = 0;
  let bytes = 0;
  const sealSlab = (): void => {
    if (slab !== undefined) chunks.push(slab.subarray(0, slabUsed));
    slab = undefined;
    slabUsed = 0;
  };
  return {
    get bytes() {
      return bytes;
    },
    add(chunk) {
      bytes += chunk.length;
      if (chunk.length >= SMALL_BYTES) {
        sealSlab();
        chunks.push(chunk);
        return;
      }
      if (slab !== undefined && slabUsed + chunk.length > slab.length) sealSlab();
      if (slab === undefined && chunks.length === 0) {
        // The usual case, a short request that is waited for, is not copied.
        chunks.push(chunk);
        return;
      }
      slab ??= Buffer.allocUnsafeSlow(SLAB_BYTES);
      chunk.copy(slab, slabUsed);
      slabUsed += chunk.length;
    },
    take() {
      if (chunks.length === 0) sealSlab();
      const chunk = chunks.shift();
      bytes -= chunk?.length ?? 0;
      return chunk;
    },
  };
}

function createOutput(options: ChannelStreamsOptions): {
  write(chunks: readonly Uint8Array[], toErrors: boolean): Promise<void> | undefined;
  exit(status: number): Promise<boolean>;
} {
  const { channel, connection, signal } = options;
  const parts = channelParts(channel);
  const { _sock: socket, _protocol: protocol } = connectionParts(connection);
  const packetBytesMax = Math.min(parts.outgoing.packetSize, PACKET_BYTES_MAX);
  let last: Promise<void> | undefined;
  const wait = createWait(options, "read nothing");

  const isBlocked = (): boolean =>
    parts.outgoing.window <= 0 || protocol._kexinit !== undefined || socket.writableLength > SOCKET_BYTES_MAX;
  const unblocked = (): Promise<void> =>
    wait((waiter) => {
      const again = (): void => waiter();
      if (parts.outgoing.window <= 0) {
        parts._chunk = undefined;
        parts._chunkcb = again;
        parts._waitWindow = true;
      }
      socket.once("drain", again);
      connection.once("rekey", again);
      return () => {
        parts._waitWindow = false;
        parts._chunkcb = undefined;
        socket.off("drain", again);
        connection.off("rekey", again);
      };
    });

  /** @returns what is left when the client has to be waited for */
  const sendNow = (bytes: Buffer, toErrors: boolean): Buffer | undefined => {
    let start = 0;
    while (start < bytes.length) {
      if (signal.aborted) throw abortedError(signal);
      if (parts.outgoing.state !== "open" || socket.destroyed) throw gone();
      if (isBlocked()) return bytes.subarray(start);
      const end = Math.min(bytes.length, start + packetBytesMax, start + parts.outgoing.window);
      const piece = bytes.subarray(start, end);
      parts.outgoing.window -= piece.length;
      const sent = tryToSend(() => {
        if (toErrors) protocol.channelExtData(parts.outgoing.id, piece, EXTENDED_DATA_STDERR);
        else protocol.channelData(parts.outgoing.id, piece);
      });
      if (!sent) throw gone();
      start = end;
    }
    return undefined;
  };

  const sendAll = async (chunks: readonly Uint8Array[], toErrors: boolean): Promise<void> => {
    for (const chunk of chunks) {
      let left = sendNow(bufferOf(chunk), toErrors);
      while (left !== undefined) {
        await unblocked();
        left = sendNow(left, toErrors);
      }
    }
  };

  return {
    write(chunks, toErrors) {
      if (last === undefined) {
        let index = 0;
        for (; index < chunks.length; index++) {
          const left = sendNow(bufferOf(chunks[index] as Uint8Array), toErrors);
          if (left === undefined) continue;
          return queue(() => sendAll([left, ...chunks.slice(index + 1)], toErrors));
        }
        return undefined;
      }
      return queue(() => sendAll(chunks, toErrors));
    },
    async exit(status) {
      try {
        await last;
        // It stands behind the data also where that has to wait for a key exchange: both go through the same queue.
        if (parts.outgoing.state !== "open" || socket.destroyed) return false;
        channel.exit(status);
        channel.end();
        return true;
      } catch {
        channel.close();
        return false;
      }
    },
  };

  function queue(work: () => Promise<void>): Promise<void> {
    const before = last;
    const done = (async () => {
      await before;
      await work();
    })();
    last = done;
    const forget = (): void => {
      if (last === done) last = undefined;
    };
    // A failure stays: nothing is sent behind a hole.
    done.then(forget, () => undefined);
    return done;
  }
}

/** The library throws once the connection has ended, also when it has not said so yet. */
function tryToSend(send: () => void): boolean {
  try {
    send();
    return true;
  } catch {
    return false;
  }
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function gone(): GitwharfError {
  return new GitwharfError("base/aborted", "the client has gone");
}
