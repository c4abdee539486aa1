/**
 * What runs inside each thread of the pool: loads the task's module, calls its default export, and carries errors
 * back with their code. Not for use by other modules; see `worker-pool.ts`.
 */
import { ERROR_CODES, type ErrorCode } from "./error-codes.js";
import { GitwharfError } from "./errors.js";

export type ThreadAnswer<Result> =
  | { readonly ok: true; readonly result: Result }
  | { readonly ok: false; readonly error: ThreadError };

export interface ThreadError {
  /** undefined: not one of ours. */
  readonly code: ErrorCode | undefined;
  readonly message: string;
  readonly stack: string | undefined;
  readonly details: Readonly<Record<string, unknown>>;
}

type TaskFunction = (task: unknown) => unknown;

const loaded = new Map<string, TaskFunction>();

export type ThreadMessage = { readonly module: string } & (
  | { readonly task: unknown }
  | { readonly loadOnly: true }
);

export default async function runTask(message: ThreadMessage): Promise<ThreadAnswer<unknown>> {
  try {
    const run = loaded.get(message.module) ?? (await load(message.module));
    if (!("task" in message)) return { ok: true, result: undefined };
    return { ok: true, result: await run(message.task) };
  } catch (error) {
    return { ok: false, error: describeError(error) };
  }
}

async function load(module: string): Promise<TaskFunction> {
  const exports: { readonly default?: unknown } = await import(module);
  const run = exports.default;
  if (typeof run !== "function")
    throw new GitwharfError("base/invariant", `${module} has no default export to run in a worker`);
  const task: TaskFunction = (value) => run(value);
  loaded.set(module, task);
  return task;
}

function describeError(error: unknown): ThreadError {
  if (!(error instanceof Error))
    return { code: undefined, message: String(error), stack: undefined, details: {} };
  const ours = error instanceof GitwharfError ? error : undefined;
  return {
    code: ours?.code,
    message: error.message,
    stack: error.stack,
    details: cloneable(ours?.details ?? {}),
  };
}

/** Details are facts for logs; one that cannot cross the thread boundary must not replace the error itself. */
function cloneable(details: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  try {
    return structuredClone(details);
  } catch {
    return {};
  }
}

/** The error to throw on the caller's side. */
export function errorFromThread(error: ThreadError): GitwharfError {
  const { code, message, stack, details } = error;
  const known = code !== undefined && code in ERROR_CODES;
  const own = known
    ? new GitwharfError(code, message, { details })
    : new GitwharfError("base/invariant", `a task failed in a worker: ${message}`, { details });
  if (stack !== undefined) own.stack = stack;
  return own;
}
