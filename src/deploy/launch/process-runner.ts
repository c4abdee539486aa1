/**
 * What launching needs of an executor. Types only: a sandbox, a container or a plain process stands behind it.
 */
export interface ProcessRun {
  /** Where the release's files are; the working directory. */
  readonly directory: string;
  /** A line for a POSIX shell. */
  readonly command: string;
  /** All of it: nothing of the server's own is added. */
  readonly environment: Readonly<Record<string, string>>;
  /** Limits in the words of the executor, handed on as they are. */
  readonly limits?: object;
  /** When it fires: SIGTERM to the whole tree, after ten seconds SIGKILL. */
  readonly signal: AbortSignal;
  /** Both outputs as they come; while the promise is pending the process's output waits. */
  readonly onOutput: (chunk: Uint8Array) => void | Promise<void>;
}

export interface ProcessEnd {
  /** undefined: a signal ended it, or it never began. */
  readonly status: number | undefined;
  /** Why, in words for the log, when it was not the process's own doing. */
  readonly ended?: string;
}

export interface ProcessRunner {
  /** @returns once nothing of the process's tree is left. Never rejects because of what the process does. */
  run(run: ProcessRun): Promise<ProcessEnd>;
}
