/**
 * Where programs of a push run: in a sandbox, in a container, or as a plain process. One interface, so that a build does
 * not know which.
 */
import type { MaybePromise } from "../../base/maybe-promise.js";

export interface Executor {
  readonly name: "sandbox" | "container" | "plain";
  /** false: what runs there can do whatever the server may. */
  readonly isIsolating: boolean;
  /** Who runs there, to whom writable mounts have to belong; undefined: the server's own user. */
  readonly user: { readonly uid: number; readonly gid: number } | undefined;
  /** Can it be used here? @throws server/bad-configuration what is missing and what to do */
  check(): Promise<void>;
  /** Ends what servers that were killed have left here: a program that they had begun may go on without them. */
  tidy(): Promise<void>;
  /** Where a mount is for the program: its target, or the directory itself where nothing can be moved. */
  placeOf(mount: Mount): string;
  /**
   * Runs one program to its end, and whatever it leaves behind to theirs: SIGTERM, `killAfterMs`, SIGKILL, to all of them.
   * It does not throw for anything that the program does.
   */
  run(execution: Execution): Promise<ExecutionEnd>;
}

/** A directory of the server's machine that the program sees. */
export interface Mount {
  readonly source: string;
  /** Absolute. */
  readonly target: string;
  readonly isWritable: boolean;
}

export interface Execution {
  /** Names it to those who look at the machine: `build-…`. Letters, digits and `-`. */
  readonly name: string;
  /** The program, absolute or found in `PATH`, and its arguments. Never a shell unless it is one. */
  readonly command: readonly [string, ...string[]];
  /** Working directory, as the program sees it. */
  readonly directory: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly mounts: readonly Mount[];
  /** The network of the machine. Otherwise it has none. */
  readonly network: boolean;
  readonly limits: ExecutionLimits;
  /** Takes what it prints, both outputs in the order in which they were written; while the promise is pending it waits. */
  readonly print: (bytes: Uint8Array) => MaybePromise<void>;
  readonly signal: AbortSignal;
}

/** What one program and all that it starts may use. `Infinity` lifts a limit. */
export interface ExecutionLimits {
  /** @default 900,000 */
  readonly timeoutMs: number;
  /** Between SIGTERM and SIGKILL. @default 10,000 */
  readonly killAfterMs: number;
  /** Of all together where there are control groups; otherwise of each. @default 2 GiB */
  readonly memoryBytesMax: number;
  /** Processes and threads. @default 1,024 */
  readonly processesMax: number;
  /** Processors, with control groups: 1.5 is one and a half. @default Infinity */
  readonly processors: number;
  /** Open files of each process. @default 4,096 */
  readonly openFilesMax: number;
  /** Of one file. @default 4 GiB */
  readonly fileBytesMax: number;
  /** Of all files in the writable mounts; and of each directory in memory. @default 8 GiB */
  readonly diskBytesMax: number;
  /** Files and directories in the writable mounts. @default 1,000,000 */
  readonly diskFilesMax: number;
  /** @default 16 MiB */
  readonly outputBytesMax: number;
}

const MiB = 1024 * 1024;

export const DEFAULT_EXECUTION_LIMITS: ExecutionLimits = {
  timeoutMs: 900_000,
  killAfterMs: 10_000,
  memoryBytesMax: 2048 * MiB,
  processesMax: 1024,
  processors: Infinity,
  openFilesMax: 4096,
  fileBytesMax: 4096 * MiB,
  diskBytesMax: 8192 * MiB,
  diskFilesMax: 1_000_000,
  outputBytesMax: 16 * MiB,
};

export interface ExecutionEnd {
  /** undefined: it was ended, or a signal did. */
  readonly status: number | undefined;
  /** Why it was ended: part of a sentence, `it ran for more than 900 seconds`. */
  readonly ended?: string;
  readonly signal?: NodeJS.Signals;
}

/** What shells say of a command that is not there. POSIX, "Exit Status for Commands". */
const NOT_FOUND = 127;

/** One sentence's end on how it ended; undefined: well. */
export function describeEnd(end: ExecutionEnd): string | undefined {
  if (end.ended !== undefined) return end.ended;
  if (end.signal !== undefined) return `it was killed by ${end.signal}`;
  if (end.status === NOT_FOUND)
    return `it exited with status ${NOT_FOUND}: a program of it was not found there`;
  if (end.status !== 0) return `it exited with status ${end.status ?? "unknown"}`;
  return undefined;
}
