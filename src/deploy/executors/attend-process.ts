/**
 * Looks after a process that was started: hands its output on at the reader's pace, ends it when its time, its output or
 * its disk is used up or nobody wants it any more, and sees that nothing of it stays behind.
 */
import type { ChildProcess } from "node:child_process";
import type { Readable } from "node:stream";
import { type Processes, watchDisk } from "./disk-use.js";
import type { Execution, ExecutionEnd } from "./executor.js";

export interface Attended {
  readonly child: ChildProcess;
  readonly execution: Execution;
  /** Asks everything to end. */
  terminate(): void;
  /** Ends everything, for sure; called more than once. */
  kill(): void;
  /** Before the end is told: what was used up, if something was. */
  explain?(): string | undefined;
  /** What it has started, itself among them: they may have files open that nobody else sees. */
  readonly processes: Processes;
}

/** A longer timer would fire at once. */
const TIMER_MS_MAX = 2 ** 31 - 1;
/** How often it is looked whether pipes that stay open after the end still bring something. */
const CLOSE_AFTER_MS = 1000;
/** More than a pipe holds: what comes beyond it after the end is not the program's. */
const PIPE_BYTES_MAX = 4 * 1024 * 1024;

export function attendProcess(attended: Attended): Promise<ExecutionEnd> {
  const { child, execution, terminate, kill } = attended;
  const { limits, signal, print } = execution;
  return new Promise((resolve) => {
    let ended: string | undefined;
    let outputBytes = 0;
    let isPrinting = false;
    let hasExited = false;
    let hasClosed = false;
    let killer: NodeJS.Timeout | undefined;

    const end = (why: string): void => {
      if (ended !== undefined) return;
      ended = why;
      if (hasExited) return;
      terminate();
      killer = setTimeout(kill, limits.killAfterMs);
    };
    const timer =
      limits.timeoutMs > TIMER_MS_MAX
        ? undefined
        : setTimeout(() => end(`it ran for more than ${limits.timeoutMs / 1000} seconds`), limits.timeoutMs);
    const onAbort = (): void => end(reasonOf(signal));
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) onAbort();
    const disk = watchDisk(
      execution.mounts.filter((mount) => mount.isWritable).map((mount) => mount.source),
      limits,
      end,
      attended.processes,
    );

    // What starts the program may have something to say on the other; one after the other.
    let last: Promise<void> = Promise.resolve();
    const forward = async (stream: Readable): Promise<void> => {
      try {
        for await (const chunk of stream) {
          const bytes = chunk as Buffer;
          outputBytes += bytes.length;
          if (outputBytes > limits.outputBytesMax) {
            end(`it printed more than ${limits.outputBytesMax} bytes`);
            continue;
          }
          last = last.then(async () => {
            isPrinting = true;
            try {
              await print(bytes);
            } finally {
              isPrinting = false;
            }
          });
          await last;
        }
      } catch {
        if (hasClosed) return;
        // Nobody takes the output any more, or the pipe broke with the process: how it ended says the rest.
        end("its output could not be handed on");
        stream.resume();
      }
    };
    const { stdout, stderr } = child;
    const outputs = Promise.all([
      stdout === null ? undefined : forward(stdout),
      stderr === null ? undefined : forward(stderr),
    ]);

    const settle = (status: number | undefined, by: NodeJS.Signals | undefined): void => {
      if (hasExited) return;
      hasExited = true;
      clearTimeout(killer);
      clearTimeout(timer);
      kill();
      // What cannot be killed (another user's, say) may hold the pipes for as long as it likes; a slow reader may take his time.
      const bytesMax = outputBytes + PIPE_BYTES_MAX;
      let seen = outputBytes;
      const closer = setInterval(() => {
        if (isPrinting || (outputBytes !== seen && outputBytes < bytesMax)) {
          seen = outputBytes;
          return;
        }
        hasClosed = true;
        kill();
        stdout?.destroy();
        stderr?.destroy();
      }, CLOSE_AFTER_MS);
      void Promise.allSettled([outputs, disk.stop()]).then(() => {
        clearInterval(closer);
        signal.removeEventListener("abort", onAbort);
        const why = ended ?? (status === 0 ? undefined : attended.explain?.());
        if (why !== undefined) resolve({ status: undefined, ended: why });
        else resolve({ status, ...(by === undefined ? {} : { signal: by }) });
      });
    };
    child.once("error", (error) => {
      ended ??= `it could not be started: ${error.message}`;
      settle(undefined, undefined);
    });
    child.once("exit", (status, by) => settle(status ?? undefined, by ?? undefined));
  });
}

function reasonOf(signal: AbortSignal): string {
  const reason: unknown = signal.reason;
  return typeof reason === "string" ? reason : "it was cancelled";
}
