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
  /** Of one that is not ours: its class, and what Node says of it (`ENOSPC`). */
  readonly name: string;
  readonly systemCode: string | undefined;
  readonly cause: ThreadError | undefined;
}

/** A cause may be its own. */
const CAUSES_MAX = 5;

type TaskFunction = (task: unknown) => unknown;

const loaded = new Map<string, TaskFunction>();

export type ThreadMessage = {
  readonly module: string;
  /** One Int32 in which the thread writes how far it is. */
  readonly progress?: SharedArrayBuffer;
} & ({ readonly task: unknown } | { readonly loadOnly: true });

/** The thread reads files: one that is ended meanwhile leaves them open for ever. */
export const LOADING = 1;
const LOADED = 2;

export default async function runTask(message: ThreadMessage): Promise<ThreadAnswer<unknown>> {
  try {
    const run = loaded.get(message.module) ?? (await load(message));
    if (!("task" in message)) return { ok: true, result: undefined };
    return { ok: true, result: await run(message.task) };
  } catch (error) {
    return { ok: false, error: describeError(error) };
  }
}

async function load({ module, progress }: ThreadMessage): Promise<TaskFunction> {
  const cell = new Int32Array(progress ?? new SharedArrayBuffer(4));
  Atomics.store(cell, 0, LOADING);
  let exports: { readonly default?: unknown };
  try {
    exports = (await import(module)) as typeof exports;
  } finally {
    Atomics.store(cell, 0, LOADED);
    Atomics.notify(cell, 0);
  }
  const run = exports.default;
  if (typeof run !== "function")
    throw new GitwharfError("base/invariant", `${module} has no default export to run in a worker`);
  const task: TaskFunction = (value) => run(value);
  loaded.set(module, task);
  return task;
}

function describeError(error: unknown, causesMax = CAUSES_MAX): ThreadError {
  if (!(error instanceof Error)) {
    const none = { code: undefined, stack: undefined, systemCode: undefined, cause: undefined };
    return { ...none, message: String(error), details: {}, name: "Error" };
  }
  const systemCode: unknown = Reflect.get(error, "code");
  const { cause } = error;
  const ours = error instanceof GitwharfError ? error : undefined;
  return {
    code: ours?.code,
    message: error.message,
    stack: error.stack,
    details: cloneable(ours?.details ?? {}),
    name: error.name,
    systemCode: ours === undefined && typeof systemCode === "string" ? systemCode : undefined,
    cause: cause === undefined || causesMax === 0 ? undefined : describeError(cause, causesMax - 1),
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
  const options = { details, ...(error.cause === undefined ? {} : { cause: causeFromThread(error.cause) }) };
  const own = known
    ? new GitwharfError(code, message, options)
    : new GitwharfError("base/invariant", `a task failed in a worker: ${message}`, options);
  if (stack !== undefined) own.stack = stack;
  return own;
}

function causeFromThread(error: ThreadError): Error {
  const { code, message, stack, name, systemCode, cause } = error;
  if (code !== undefined && code in ERROR_CODES) return errorFromThread(error);
  const own = new Error(message, cause === undefined ? undefined : { cause: causeFromThread(cause) });
  own.name = name;
  if (stack !== undefined) own.stack = stack;
  return systemCode === undefined ? own : Object.assign(own, { code: systemCode });
}
