/** Runs processes of a release where builds run: in its directory, with the network, for as long as they like. */
import type { MaybePromise } from "../../base/maybe-promise.js";
import { DEFAULT_EXECUTION_LIMITS, type ExecutionLimits, type Executor } from "./executor.js";
import { giveTree } from "./give-tree.js";

export interface ReleaseProcess {
  /** Where the slug's files are. */
  readonly directory: string;
  /** A line for a POSIX shell. */
  readonly command: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly limits?: Partial<ExecutionLimits>;
  readonly signal: AbortSignal;
  readonly onOutput: (chunk: Uint8Array) => MaybePromise<void>;
}

const INSIDE = "/app";

/** @returns once nothing of it is left; never rejects because of what it does */
export async function runRelease(
  executor: Executor,
  process: ReleaseProcess,
): Promise<{ readonly status: number | undefined; readonly ended?: string }> {
  const { directory, environment } = process;
  if (executor.user !== undefined) await giveTree(directory, executor.user);
  const mount = { source: directory, target: INSIDE, isWritable: true };
  const place = executor.placeOf(mount);
  const { status, ended } = await executor.run({
    name: "release",
    command: ["/bin/sh", "-c", process.command],
    directory: place,
    environment: environment["HOME"] === directory ? { ...environment, HOME: place } : environment,
    mounts: [mount],
    network: true,
    limits: {
      ...DEFAULT_EXECUTION_LIMITS,
      timeoutMs: Infinity,
      outputBytesMax: Infinity,
      ...process.limits,
    },
    print: process.onOutput,
    signal: process.signal,
  });
  return { status, ...(ended === undefined ? {} : { ended }) };
}
