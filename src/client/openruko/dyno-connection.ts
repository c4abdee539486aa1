/**
 * A dyno as the other side of a Git client of ours: git's bytes both ways, what else it prints to whoever watches it, and
 * no silence without end. Its `E:` chunks are told from git's bytes in `dyno-stream.ts`.
 */
import { once } from "node:events";
import type { ByteSource } from "../../base/byte-streams.js";
import { abortedError, GitwharfError } from "../../base/errors.js";
import { RemoteGitFailure } from "../remote-git-failure.js";
import { createDynoReader, type DynoBytes } from "./dyno-stream.js";
import type { Rendezvous } from "./rendezvous.js";

/** Between what has come and what is read. */
const AHEAD_BYTES_MAX = 64 * 1024;

export interface DynoConnectionOptions {
  readonly rendezvous: Rendezvous;
  /** What the dyno prints that is not git's. While the promise is pending nothing more is read. */
  readonly onErrors: (bytes: Uint8Array) => Promise<void>;
  /** Longest time in which nothing moves, either way. */
  readonly idleTimeoutMs: number;
  /** From telling a dyno to end to cutting it off. */
  readonly exitTimeoutMs: number;
  /** Or when none will come. */
  readonly onFirstByte: () => void;
  /** Ends it: the dyno is told to end, and cut off when it does not. */
  readonly signal: AbortSignal;
}

export interface DynoConnection {
  readonly input: ByteSource;
  write(bytes: Uint8Array): Promise<void>;
  /**
   * Tells the dyno that nothing more comes, and waits until it has gone. Idempotent.
   * @returns "cut": it had not gone in time, and was cut off
   */
  close(): Promise<"gone" | "cut">;
}

export function openDynoConnection(options: DynoConnectionOptions): DynoConnection {
  const { rendezvous, idleTimeoutMs, exitTimeoutMs, signal } = options;
  const { socket } = rendezvous;
  const reader = createDynoReader();
  const chunks: Buffer[] = [];
  let waitingBytes = 0;
  let hasBegun = false;
  let isOver = false;
  let isClosing = false;
  let wake = (): void => undefined;
  let movedAt = performance.now();
  const moved = (): void => {
    movedAt = performance.now();
  };
  const gone = new Promise<void>((resolve) => {
    const settle = (): void => {
      isOver = true;
      options.onFirstByte();
      resolve();
      wake();
    };
    socket.once("end", settle);
    socket.once("close", settle);
    if (socket.destroyed) settle();
  });
  socket.on("data", (chunk: Buffer) => {
    if (!hasBegun) {
      hasBegun = true;
      options.onFirstByte();
    }
    if (isClosing) return;
    // One chunk is one event: read in any other way than by events, chunks would be put together.
    chunks.push(chunk);
    waitingBytes += chunk.length;
    if (waitingBytes >= AHEAD_BYTES_MAX) socket.pause();
    wake();
  });
  signal.addEventListener("abort", () => wake(), { once: true });

  /** @returns when there is a chunk, or the end */
  const something = async (): Promise<void> => {
    while (chunks.length === 0 && !isOver && !signal.aborted) {
      const leftMs = movedAt + idleTimeoutMs - performance.now();
      if (leftMs <= 0) {
        // It does not hear either.
        rendezvous.cut();
        throw new RemoteGitFailure(`the dyno has said nothing for ${idleTimeoutMs / 1000} seconds`);
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.min(leftMs + 1, 0x7fff_ffff));
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    if (signal.aborted) throw abortedError(signal);
  };
  async function* read(): AsyncGenerator<Uint8Array, void, void> {
    for (;;) {
      await something();
      const taken = chunks.splice(0);
      if (taken.length === 0) return;
      waitingBytes = 0;
      for (const { to, bytes } of gathered(taken.map((chunk) => reader.read(chunk))))
        if (to === "output") yield bytes;
        else await options.onErrors(bytes);
      // The time in which nobody reads is not the dyno's.
      moved();
      socket.resume();
    }
  }

  let closed: ReturnType<DynoConnection["close"]> | undefined;
  return {
    input: read(),
    async write(bytes) {
      if (signal.aborted) throw abortedError(signal);
      if (socket.destroyed || socket.writableEnded)
        throw new GitwharfError("base/aborted", "the dyno has gone");
      if (!socket.write(bytes)) {
        // Whatever ends it is told by the next write, and to who reads.
        const drained = once(socket, "drain", { signal }).catch(() => undefined);
        await Promise.race([drained, gone]);
      }
      moved();
    },
    close() {
      return (closed ??= (async () => {
        isClosing = true;
        socket.resume();
        if (!socket.writableEnded) socket.end();
        let how: "gone" | "cut" = "gone";
        const timer = setTimeout(() => {
          how = "cut";
          rendezvous.cut();
        }, exitTimeoutMs);
        await gone;
        clearTimeout(timer);
        // It may have ended its side and still hold the other.
        socket.destroy();
        return how;
      })());
    },
  };
}

/** Dyno hosts write little at a time: what is for the same and came at once is handed on at once. */
function* gathered(all: readonly DynoBytes[]): Generator<DynoBytes, void, void> {
  for (let at = 0; at < all.length; ) {
    const { to } = all[at] as DynoBytes;
    let end = at + 1;
    while (all[end]?.to === to) end++;
    const bytes = Buffer.concat(all.slice(at, end).map((one) => one.bytes));
    if (bytes.length > 0) yield { to, bytes };
    at = end;
  }
}
