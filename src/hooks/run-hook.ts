/**
 * Runs one hook: an executable file, its arguments as an array, never a shell. The whole process group ends with the
 * request. What it prints is handed on as it comes and bounded.
 * Specification: githooks.
 */
import { spawn } from "node:child_process";
import { access, constants, stat } from "node:fs/promises";

export interface HookRun {
  readonly path: string;
  readonly args: readonly string[];
  readonly directory: string;
  readonly environment: Readonly<Record<string, string>>;
  /** Written to its standard input; a hook that does not read it is no error. */
  readonly input: string | Buffer;
  /** Takes what it prints; while the promise is pending the hook's output waits. */
  readonly print: (text: string) => void | Promise<void>;
  /** Its standard output is an answer to us, not text for the pusher. */
  readonly captureOutput?: boolean;
  readonly timeoutMs: number;
  readonly outputBytesMax: number;
  readonly signal: AbortSignal;
}

export interface HookEnd {
  /** 0 = it agreed. undefined: it was ended (time, output, the client left). */
  readonly status: number | undefined;
  readonly output: Buffer;
  /** Why it was ended. */
  readonly ended?: string;
}

/** True for an executable file; "ignored" for one that is there but not executable, as git says. */
export async function findHook(path: string): Promise<"run" | "ignored" | "absent"> {
  try {
    if (!(await stat(path)).isFile()) return "absent";
  } catch {
    return "absent";
  }
  try {
    await access(path, constants.X_OK);
    return "run";
  } catch {
    return "ignored";
  }
}

const KILL_AFTER_MS = 10_000;

export function runHook(run: HookRun): Promise<HookEnd> {
  return new Promise((resolve) => {
    const child = spawn(run.path, [...run.args], {
      cwd: run.directory,
      env: { ...run.environment },
      detached: true,
      stdio: ["pipe", "pipe", "pipe"],
    });
    let ended: string | undefined;
    let outputBytes = 0;
    const captured: Buffer[] = [];
    const killGroup = (signal: NodeJS.Signals): void => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, signal);
      } catch {
        // The group is gone already.
      }
    };
    let killer: NodeJS.Timeout | undefined;
    let exited = false;
    /** A process that left the group may hold them open for as long as it likes. */
    const closeOutputs = (): void => {
      child.stdout.destroy();
      child.stderr.destroy();
    };
    const end = (why: string): void => {
      if (ended !== undefined) return;
      ended = why;
      if (exited) {
        closeOutputs();
        return;
      }
      killGroup("SIGTERM");
      killer = setTimeout(() => killGroup("SIGKILL"), KILL_AFTER_MS);
    };
    const timer = setTimeout(
      () => end(`it ran for more than ${run.timeoutMs / 1000} seconds`),
      run.timeoutMs,
    );
    const onAbort = (): void => end("the client has gone");
    run.signal.addEventListener("abort", onAbort, { once: true });
    if (run.signal.aborted) onAbort();

    const forward = (stream: NodeJS.ReadableStream, capture: boolean): Promise<void> =>
      (async () => {
        const decoder = new TextDecoder();
        try {
          for await (const chunk of stream) {
            const bytes = chunk as Buffer;
            outputBytes += bytes.length;
            if (outputBytes > run.outputBytesMax) end(`it printed more than ${run.outputBytesMax} bytes`);
            else if (capture) captured.push(bytes);
            else await run.print(decoder.decode(bytes, { stream: true }));
          }
        } catch {
          // The pusher has gone, or the pipe broke with the hook: its exit status says the rest.
          end("its output could not be handed on");
          stream.resume();
        }
      })();
    const outputs = Promise.all([
      forward(child.stdout, run.captureOutput === true),
      forward(child.stderr, false),
    ]);
    child.stdin.on("error", () => undefined);
    child.stdin.end(run.input);
    const settle = (status: number | undefined): void => {
      exited = true;
      clearTimeout(killer);
      // What the hook left running in its group ends with it.
      killGroup("SIGKILL");
      if (ended !== undefined) closeOutputs();
      void outputs.then(() => {
        clearTimeout(timer);
        run.signal.removeEventListener("abort", onAbort);
        resolve({
          status: ended === undefined ? status : undefined,
          output: Buffer.concat(captured),
          ...(ended === undefined ? {} : { ended }),
        });
      });
    };
    child.once("error", (error) => {
      ended ??= `it could not be started: ${error.message}`;
      settle(undefined);
    });
    child.once("exit", (status) => settle(status ?? undefined));
  });
}
