/**
 * The bytes of one command between a client and its dyno, both ways, neither side ahead of the other. What the client
 * sends waits for the dyno's first byte of git, which is what git's clients do as well: dyno hosts lose what comes before
 * their process runs.
 */
import type { CommandStreams } from "../ssh/serve-command.js";
import { createWritableSink } from "../writable-sink.js";
import { createDynoReader } from "../../client/openruko/dyno-stream.js";
import type { Rendezvous } from "../../client/openruko/rendezvous.js";

export interface RelayOptions {
  readonly rendezvous: Rendezvous;
  readonly streams: CommandStreams;
  /** The dyno is told when the client has sent all. */
  readonly halfClose: boolean;
  readonly exitTimeoutMs: number;
  readonly onFirstByte: () => void;
  /** A dyno that was told to end has not, and is cut off. */
  readonly onExitTimeout: () => void;
}

export interface RelayEnd {
  /** "lost": the connection broke, or was cut. */
  readonly how: "ended" | "lost";
  /** Nothing came that git would understand. */
  readonly isMute: boolean;
  /** Nothing came at all. */
  readonly isEmpty: boolean;
}

export interface Relay {
  readonly ended: Promise<RelayEnd>;
  /**
   * "terminate": the dyno reads the end of what the client sends, and has a while to end in. "kill": it is cut off.
   */
  stop(how: "terminate" | "kill"): void;
  /** Nobody reads any more: what the dyno still sends is dropped, so that it can end. */
  discard(): void;
}

export function startRelay(options: RelayOptions): Relay {
  const { rendezvous, streams } = options;
  const { socket } = rendezvous;
  const reader = createDynoReader();
  const over = new AbortController();
  let hasBegun = false;
  let discarding = false;
  let exitTimer: NodeJS.Timeout | undefined;

  const ended = new Promise<RelayEnd>((resolve) => {
    const settle = (how: RelayEnd["how"]): void => {
      clearTimeout(exitTimer);
      over.abort();
      resolve({ how, isMute: !reader.hasSpoken, isEmpty: !hasBegun });
    };
    socket.once("end", () => settle("ended"));
    socket.once("close", () => settle("lost"));
    if (socket.destroyed) settle("lost");
  });
  const pass = (chunk: Buffer): void => {
    const { to, bytes } = reader.read(chunk);
    if (bytes.length === 0) return;
    try {
      const waiting = streams[to].write(bytes);
      if (!(waiting instanceof Promise)) return;
      // One chunk is one event: read in any other way than by events, chunks would be put together.
      socket.pause();
      waiting.then(
        () => socket.resume(),
        () => discard(),
      );
    } catch {
      discard();
    }
  };
  const discard = (): void => {
    discarding = true;
    socket.resume();
  };
  socket.on("data", (chunk: Buffer) => {
    if (!hasBegun) {
      hasBegun = true;
      options.onFirstByte();
    }
    const wasMute = !reader.hasSpoken;
    if (!discarding) pass(chunk);
    if (wasMute && reader.hasSpoken) void passInput(options, over.signal);
  });

  return {
    ended,
    discard,
    stop(how) {
      if (how === "kill") return rendezvous.cut();
      if (exitTimer !== undefined || over.signal.aborted) return;
      exitTimer = setTimeout(() => {
        options.onExitTimeout();
        rendezvous.cut();
      }, options.exitTimeoutMs);
      socket.end();
    },
  };
}

/** Never throws: a client that has gone is told by its signal, a dyno that has by `ended`. */
async function passInput(options: RelayOptions, signal: AbortSignal): Promise<void> {
  const { streams, halfClose } = options;
  const { socket } = options.rendezvous;
  const sink = createWritableSink(socket, {
    idleTimeoutMs: Number.POSITIVE_INFINITY,
    signal,
    onFirstWrite: () => undefined,
  });
  try {
    for await (const chunk of streams.input) {
      // It has been told that nothing more comes.
      if (socket.writableEnded) return;
      await sink.write(chunk);
    }
    if (halfClose) socket.end();
  } catch {
    // As said above.
  }
}
