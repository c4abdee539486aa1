/**
 * Runs one hook: an executable file, its arguments as an array, never a shell. The whole process group ends with the
 * request. What it prints is handed on as it comes and bounded.
 * Specification: githooks.
 */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { access, constants, stat } from "node:fs/promises";

export interface HookRun {
  readonly path: string;
  readonly args: readonly string[];
  readonly directory: string;
  readonly environment: Readonly<Record<string, string>>;
  /** Written to its standard input; a hook that does not read it is no error. Or a conversation. */
  readonly input: string | ((hook: HookPipes) => Promise<void>);
  /** Takes what it prints; while the promise is pending the hook's output waits. */
  readonly print: (text: string) => void | Promise<void>;
  readonly timeoutMs: number;
  /** Between SIGTERM and SIGKILL. */
  readonly killAfterMs: number;
  /** Of both outputs together. */
  readonly outputBytesMax: number;
  readonly signal: AbortSignal;
}

/** Both ends of a conversation: standard output is an answer to us then, not text for the pusher. */
export interface HookPipes {
  /** False when the hook takes no more. */
  write(text: string): Promise<boolean>;
  /** Ends with the hook, and when it is ended. */
  readonly output: AsyncIterable<Buffer>;
}

export interface HookEnd {
  /** 0 = it agreed. undefined: it was ended (time, output, the client left). */
  readonly status: number | undefined;
  /** Why it was ended. */
  readonly ended?: string;
}

/** "ignored" for a file that is there but not executable, as git says. */
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

export async function runHook(run: HookRun): Promise<HookEnd> {
  if (run.signal.aborted) return { status: undefined, ended: "the client has gone" };
  let child: ChildProcessWithoutNullStreams;
  try {
    child = spawn(run.path, [...run.args], {
      cwd: run.directory,
      env: { ...run.environment },
      detached: true,
      stdio: ["pipe", "pipe", "pipe"],
    });
  } catch (error) {
    // More arguments than the system takes, say.
    return { status: undefined, ended: notStarted(error) };
  }
  return attend(child, run);
}

function attend(child: ChildProcessWithoutNullStreams, run: HookRun): Promise<HookEnd> {
  return new Promise((resolve) => {
    let ended: string | undefined;
    let outputBytes = 0;
    let exited = false;
    let killer: NodeJS.Timeout | undefined;
    const killGroup = (signal: NodeJS.Signals): void => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, signal);
      } catch {
        // The group is gone already.
      }
    };
    /** A process that left the group may hold them open for as long as it likes. */
    const closePipes = (): void => {
      child.stdin.destroy();
      child.stdout.destroy();
      child.stderr.destroy();
    };
    const end = (why: string): void => {
      if (ended !== undefined) return;
      ended = why;
      if (exited) {
        closePipes();
        return;
      }
      killGroup("SIGTERM");
      killer = setTimeout(() => killGroup("SIGKILL"), run.killAfterMs);
    };
    const timer = setTimeout(
      () => end(`it ran for more than ${run.timeoutMs / 1000} seconds`),
      run.timeoutMs,
    );
    const onAbort = (): void => end("the client has gone");
    run.signal.addEventListener("abort", onAbort, { once: true });

    async function* bounded(stream: AsyncIterable<unknown>): AsyncGenerator<Buffer> {
      for await (const chunk of stream) {
        const bytes = chunk as Buffer;
        outputBytes += bytes.length;
        if (outputBytes <= run.outputBytesMax) yield bytes;
        else end(`it printed more than ${run.outputBytesMax} bytes`);
      }
    }
    const forward = async (stream: NodeJS.ReadableStream): Promise<void> => {
      const decoder = new TextDecoder();
      try {
        for await (const bytes of bounded(stream)) await run.print(decoder.decode(bytes, { stream: true }));
      } catch {
        // The pusher has gone, or the pipe broke with the hook: its exit status says the rest.
        end("its output could not be handed on");
        stream.resume();
      }
    };
    const converse = async (talk: (hook: HookPipes) => Promise<void>): Promise<void> => {
      try {
        await talk({
          write: (text) =>
            new Promise((done) => void child.stdin.write(text, (error) => done(!(error instanceof Error)))),
          output: bounded(child.stdout),
        });
      } catch {
        end("its answer could not be read");
      }
      // Whatever it has to say now, nobody listens.
      child.stdin.destroy();
      child.stdout.destroy();
    };
    child.stdin.on("error", () => undefined);
    let outputs: Promise<unknown>;
    if (typeof run.input === "string") {
      child.stdin.end(run.input);
      outputs = Promise.all([forward(child.stdout), forward(child.stderr)]);
    } else outputs = Promise.all([converse(run.input), forward(child.stderr)]);

    const settle = (status: number | undefined): void => {
      exited = true;
      clearTimeout(killer);
      // What the hook left running in its group ends with it.
      killGroup("SIGKILL");
      child.stdin.destroy();
      if (ended !== undefined) closePipes();
      void outputs.then(() => {
        clearTimeout(timer);
        run.signal.removeEventListener("abort", onAbort);
        resolve({
          status: ended === undefined ? status : undefined,
          ...(ended === undefined ? {} : { ended }),
        });
      });
    };
    child.once("error", (error) => {
      ended ??= notStarted(error);
      settle(undefined);
    });
    child.once("exit", (status) => settle(status ?? undefined));
  });
}

function notStarted(error: unknown): string {
  return `it could not be started: ${error instanceof Error ? error.message : String(error)}`;
}
