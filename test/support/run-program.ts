/** Programs in executors, for tests: a directory of their own, what they printed, how they ended. */
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  createPlainExecutor,
  createSandboxExecutor,
  type Execution,
  type ExecutionEnd,
  type ExecutionLimits,
  type Executor,
} from "../../src/index.js";
import { DEFAULT_EXECUTION_LIMITS } from "../../src/deploy/executors/executor.js";
import { SKIP_SANDBOX } from "./bubblewrap.js";

export interface Ended {
  readonly end: ExecutionEnd;
  readonly text: string;
}

export interface ProgramPlace {
  readonly directory: string;
  /** In it; the program's own, where it begins. */
  readonly work: string;
  remove(): void;
}

export type RunProgram = (
  script: string,
  more?: Partial<Omit<Execution, "limits">> & { readonly limits?: Partial<ExecutionLimits> },
) => Promise<Ended>;

export function createProgramPlace(): ProgramPlace {
  const directory = mkdtempSync(join(tmpdir(), "gitwharf-test-"));
  // Who runs in the sandbox passes through to its mounts.
  chmodSync(directory, 0o711);
  const work = join(directory, "work");
  mkdirSync(work);
  return {
    directory,
    work,
    remove: () => rmSync(directory, { recursive: true, force: true, maxRetries: 3 }),
  };
}

/** @returns runs lines of /bin/sh there */
export function running(executor: Executor, { work }: ProgramPlace): RunProgram {
  if (executor.user !== undefined) chownSync(work, executor.user.uid, executor.user.gid);
  const mount = { source: work, target: "/tmp/build", isWritable: true };
  const place = executor.placeOf(mount);
  return async (script, more = {}) => {
    const chunks: Uint8Array[] = [];
    const end = await executor.run({
      name: "test",
      command: ["/bin/sh", "-c", script],
      directory: place,
      environment: { PATH: "/usr/local/bin:/usr/bin:/bin" },
      mounts: [mount],
      network: false,
      print: (bytes) => void chunks.push(bytes),
      signal: new AbortController().signal,
      ...more,
      limits: { ...DEFAULT_EXECUTION_LIMITS, timeoutMs: 60_000, killAfterMs: 500, ...more.limits },
    });
    return { end, text: Buffer.concat(chunks).toString("utf8") };
  };
}

/** Is there a process with this text among its arguments? */
export function isThere(text: string): boolean {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .some((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "latin1").includes(text);
      } catch {
        return false;
      }
    });
}

export const EXECUTORS = [
  { name: "sandbox", create: () => createSandboxExecutor(), skipped: SKIP_SANDBOX },
  {
    name: "sandbox without control groups",
    create: () => createSandboxExecutor({ controlGroups: "never" }),
    skipped: SKIP_SANDBOX,
  },
  { name: "plain process", create: () => createPlainExecutor({ warn: () => undefined }), skipped: false },
];
