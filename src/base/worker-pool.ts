/**
 * The one pool of worker threads: CPU-heavy work of any folder runs here, so that the event loop only moves bytes.
 *
 * Threads start with the first task; one stays, the others for some seconds after their last task. They never keep
 * the process alive by themselves. A task's module default-exports `(task) => result`; task and result cross the boundary by
 * structured clone (share big data through SharedArrayBuffer or a file descriptor). A task that streams gets a
 * `MessagePort` in its task and in `transferList`.
 *
 * Tasks queue first in, first out: long work should come in slices of some hundred milliseconds, so that a large
 * push does not make a small fetch wait. What cannot be cut into slices goes to the thread in the background.
 */
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import type { TransferListItem } from "node:worker_threads";
import { Piscina } from "piscina";
import { abortedError, GitwharfError, isGitwharfError, throwIfAborted } from "./errors.js";
import { errorFromThread, LOADING, type ThreadAnswer, type ThreadMessage } from "./worker-thread.js";

export interface RunInWorkerOptions {
  /** Buffers and ports that move with the task instead of being copied. */
  readonly transferList?: readonly TransferListItem[];
  /** Removes a waiting task from the queue; ends the thread of a running one, once it has loaded the task's module. */
  readonly signal?: AbortSignal | undefined;
  /** Work of many seconds that no request waits for: one task at a time, in a thread beside those of the pool. */
  readonly isBackground?: boolean;
}

/** Time for which an idle thread beside the first stays warm. */
const IDLE_MS = 10_000;

/** How many tasks can run at once: one a core, and two on a single core so that one long task stalls nobody. */
export function workerCount(): number {
  return Math.max(2, availableParallelism());
}

/** A thread that died while it loaded says nothing any more. */
const LOADING_MS_MAX = 10_000;

const THREADS = {
  filename: fileURLToPath(new URL("./worker-thread.js", import.meta.url)),
  idleTimeout: IDLE_MS,
};
let pool: Piscina | undefined;
let background: Piscina | undefined;

/**
 * Runs the default export of a compiled module in a worker thread.
 * @param filename `new URL("./x-worker.js", import.meta.url)`
 * @throws whatever the task throws: a GitwharfError keeps code, message and details; anything else arrives as
 *   base/invariant. base/aborted when the signal fires, base/worker-failed when the thread died (out of memory).
 */
export async function runInWorker<Task, Result>(
  filename: URL,
  task: Task,
  options: RunInWorkerOptions = {},
): Promise<Result> {
  return inThread<Result>({ module: filename.href, task }, options);
}

/**
 * Starts the thread that stays and loads a module there, so that the first task of a server need not wait for either.
 * @throws as `runInWorker`
 */
export function loadInWorker(filename: URL): Promise<void> {
  return inThread({ module: filename.href, loadOnly: true }, {});
}

async function inThread<Result>(message: ThreadMessage, options: RunInWorkerOptions): Promise<Result> {
  const { signal } = options;
  throwIfAborted(signal);
  const own = options.isBackground === true ? (background ??= startBackground()) : (pool ??= startPool());
  const ending = signal === undefined ? undefined : endingOnceLoaded(signal);
  let answer: ThreadAnswer<Result>;
  try {
    answer = await own.run(ending === undefined ? message : { ...message, progress: ending.progress }, {
      ...(options.transferList === undefined ? {} : { transferList: [...options.transferList] }),
      ...(ending === undefined ? {} : { signal: ending.signal }),
    });
  } catch (cause) {
    throw poolError(cause, { signal, closed: own !== pool && own !== background });
  } finally {
    ending?.forget();
  }
  if (answer.ok) return answer.result;
  throw errorFromThread(answer.error);
}

/** A signal that follows another, but not while the task's thread loads files. */
function endingOnceLoaded(signal: AbortSignal): {
  readonly signal: AbortSignal;
  readonly progress: SharedArrayBuffer;
  forget(): void;
} {
  const controller = new AbortController();
  const progress = new SharedArrayBuffer(4);
  const onAbort = (): void => {
    const { value } = Atomics.waitAsync(new Int32Array(progress), 0, LOADING, LOADING_MS_MAX);
    if (typeof value === "string") controller.abort(signal.reason);
    else void value.then(() => controller.abort(signal.reason));
  };
  signal.addEventListener("abort", onAbort, { once: true });
  return {
    signal: controller.signal,
    progress,
    forget: () => signal.removeEventListener("abort", onAbort),
  };
}

/** How busy the threads are; all zero before the first task. */
export function workerPoolState(): {
  readonly threads: number;
  readonly waiting: number;
  readonly completed: number;
  /** 0 to 1. */
  readonly utilization: number;
} {
  if (pool === undefined) return { threads: 0, waiting: 0, completed: 0, utilization: 0 };
  const { threads, queueSize, completed, utilization } = pool;
  return { threads: threads.length, waiting: queueSize, completed, utilization };
}

/** Ends all threads; running tasks fail with base/shutting-down. A later task starts a new pool. */
export async function closeWorkerPool(): Promise<void> {
  const own = [pool, background];
  pool = undefined;
  background = undefined;
  await Promise.all(own.flatMap((each) => (each === undefined ? [] : [each.destroy()])));
}

function startPool(): Piscina {
  return new Piscina({ ...THREADS, minThreads: 1, maxThreads: workerCount() });
}

function startBackground(): Piscina {
  return new Piscina({ ...THREADS, minThreads: 0, maxThreads: 1 });
}

function poolError(
  cause: unknown,
  state: { readonly signal: AbortSignal | undefined; readonly closed: boolean },
): GitwharfError {
  if (isGitwharfError(cause)) return cause;
  if (state.signal?.aborted) return abortedError(state.signal);
  if (state.closed) return new GitwharfError("base/shutting-down", "the server is shutting down", { cause });
  if (cause instanceof Error && cause.name === "DataCloneError")
    return new GitwharfError("base/invariant", `a task cannot be sent to a worker: ${cause.message}`, {
      cause,
    });
  const why = cause instanceof Error ? cause.message : String(cause);
  return new GitwharfError("base/worker-failed", `a worker thread ended before its task: ${why}`, { cause });
}
