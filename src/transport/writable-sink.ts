/**
 * A socket or a response as a byte sink: waits for the reader, gives up on one that stalls or has left.
 */
import type { ByteSink } from "../base/byte-streams.js";
import { abortedError, GitwharfError } from "../base/errors.js";

/** What sockets and responses have in common. */
export type SinkStream = NodeJS.WritableStream & { readonly destroyed: boolean; destroy(): unknown };

export interface WritableSink extends ByteSink {
  /** Ends the stream and waits until it is handed to the system or the client has left. */
  end(): Promise<void>;
}

/** @param options.onFirstWrite sends the head, as late as possible: until then an error still has a status */
export function createWritableSink(
  body: SinkStream,
  options: {
    readonly idleTimeoutMs: number;
    readonly signal: AbortSignal;
    readonly onFirstWrite: () => void;
  },
): WritableSink {
  const { signal, idleTimeoutMs } = options;
  let started = false;
  const start = (): void => {
    if (started) return;
    started = true;
    options.onFirstWrite();
  };
  const drained = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const settle = (error?: Error): void => {
        clearTimeout(timer);
        body.off("drain", onDrain);
        body.off("close", onClose);
        signal.removeEventListener("abort", onAbort);
        if (error) reject(error);
        else resolve();
      };
      const onDrain = (): void => settle();
      const onClose = (): void => settle(gone());
      const onAbort = (): void => settle(abortedError(signal));
      const timer = Number.isFinite(idleTimeoutMs)
        ? setTimeout(() => {
            const error = new GitwharfError(
              "base/aborted",
              `the client read nothing for ${idleTimeoutMs / 1000} s`,
            );
            settle(error);
            body.destroy();
          }, idleTimeoutMs)
        : undefined;
      body.once("drain", onDrain);
      body.once("close", onClose);
      signal.addEventListener("abort", onAbort, { once: true });
      if (body.destroyed) onClose();
    });

  return {
    write(...chunks) {
      if (signal.aborted) throw abortedError(signal);
      if (body.destroyed) throw gone();
      start();
      let ready = true;
      // Not corked: Node corks the socket for the tick anyway, and from Node 24 on a response that was corked itself
      // asks for a "drain" which never comes when the socket takes everything at once.
      for (const chunk of chunks) ready = body.write(chunk);
      return ready ? undefined : drained();
    },
    end() {
      start();
      return new Promise((resolve) => {
        if (body.destroyed) return resolve();
        body.once("close", resolve);
        body.end(() => resolve());
      });
    },
  };
}

function gone(): GitwharfError {
  return new GitwharfError("base/aborted", "the client has gone");
}
