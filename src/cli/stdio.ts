/** Standard input and output as byte streams, for the commands that a client starts over SSH or `git clone -u`. */
import { once } from "node:events";
import type { ByteSink } from "../base/byte-streams.js";
import { GitwharfError } from "../base/errors.js";

/** Fires when the process is told to stop or its reader has gone. */
export function createStdioSignal(): AbortSignal {
  const controller = new AbortController();
  const stop = (): void => controller.abort(new GitwharfError("base/aborted", "the client has gone"));
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, stop);
  process.stdout.once("error", stop);
  return controller.signal;
}

export function createStdoutSink(signal: AbortSignal): ByteSink {
  return createSink(process.stdout, signal);
}

export function createStderrSink(signal: AbortSignal): ByteSink {
  return createSink(process.stderr, signal);
}

function createSink(stream: NodeJS.WriteStream, signal: AbortSignal): ByteSink {
  return {
    write(...chunks) {
      let ready = true;
      for (const chunk of chunks) ready = stream.write(chunk);
      return ready ? undefined : once(stream, "drain", { signal }).then(() => undefined);
    },
  };
}

/** Waits until standard output has taken everything. */
export function flushStdout(): Promise<void> {
  return new Promise((resolve) => process.stdout.write("", () => resolve()));
}
