/**
 * Whether a process answers yet: it accepts connections on its port, or answers a path with a status below 400. Asked
 * again and again until it does, ends, or the time is up.
 */
import { request } from "node:http";
import { connect } from "node:net";
import { setTimeout as setTimeoutPromise } from "node:timers/promises";
import { GitwharfError } from "../../base/errors.js";

export interface HealthCheck {
  /** Asked with GET. undefined: a connection is enough. */
  readonly path?: string | undefined;
  /** From the start of the process. @default 60,000 (Heroku's R10) */
  readonly timeoutMs?: number;
  /** Between two questions. @default 20 */
  readonly intervalMs?: number;
  /** For one answer. @default 5,000 */
  readonly answerTimeoutMs?: number;
}

const SILENT = "nothing listens";
const LATE = "no answer in time";

/**
 * @param signal fires when the process has ended
 * @throws deploy/launch-failed when the time is up; base/aborted
 */
export async function waitUntilHealthy(
  port: number,
  { path, timeoutMs = 60_000, intervalMs = 20, answerTimeoutMs = 5000 }: HealthCheck,
  signal: AbortSignal,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  let last = SILENT;
  for (;;) {
    if (signal.aborted) throw new GitwharfError("base/aborted", "the process has ended");
    const left = deadline - performance.now();
    if (left <= 0) break;
    const outcome = await ask(port, { path, timeoutMs: Math.min(answerTimeoutMs, left), signal });
    if (outcome === undefined) return;
    // The last question may have had no time for its answer: the status that came before says more.
    if (outcome !== LATE || left >= answerTimeoutMs || !last.startsWith("status ")) last = outcome;
    await setTimeoutPromise(intervalMs, undefined, { signal }).catch(() => undefined);
  }
  const what = path === undefined ? "listens on PORT" : `answers GET ${path}`;
  throw new GitwharfError(
    "deploy/launch-failed",
    `the web process was to be one that ${what} within ${timeoutMs / 1000} seconds (${last})`,
  );
}

interface Question {
  readonly path: string | undefined;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** undefined: it is healthy; else why not. Never rejects. */
function ask(port: number, question: Question): Promise<string | undefined> {
  return question.path === undefined
    ? askForConnection(port, question)
    : askForAnswer(port, question.path, question);
}

function askForConnection(port: number, { timeoutMs, signal }: Question): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1" });
    const end = (outcome: string | undefined): void => {
      signal.removeEventListener("abort", onAbort);
      socket.destroy();
      resolve(outcome);
    };
    const onAbort = (): void => end("it has ended");
    signal.addEventListener("abort", onAbort);
    socket.setTimeout(timeoutMs, () => end("it takes no connection"));
    socket.once("connect", () => end(undefined));
    socket.on("error", () => end(SILENT));
  });
}

function askForAnswer(
  port: number,
  path: string,
  { timeoutMs, signal }: Question,
): Promise<string | undefined> {
  return new Promise((resolve) => {
    const asked = request({ port, host: "127.0.0.1", path, agent: false });
    const end = (outcome: string | undefined): void => {
      signal.removeEventListener("abort", onAbort);
      clearTimeout(timer);
      asked.destroy();
      resolve(outcome);
    };
    const onAbort = (): void => end("it has ended");
    signal.addEventListener("abort", onAbort);
    const timer = setTimeout(() => end(LATE), timeoutMs);
    asked.once("response", ({ statusCode = 0 }) => {
      end(statusCode >= 200 && statusCode < 400 ? undefined : `status ${statusCode}`);
    });
    asked.on("error", (error) =>
      end("code" in error && error.code === "ECONNREFUSED" ? SILENT : "no answer"),
    );
    asked.end();
  });
}
