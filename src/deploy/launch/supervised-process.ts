/**
 * One process that is to run: `web.1`. Started, watched until it is healthy, started again when it ends, each time a
 * little later, and ended when it is told to. Not here: how a process is started (`ProcessRunner`), who asks it.
 */
import { setTimeout as setTimeoutPromise } from "node:timers/promises";
import { GitwharfError } from "../../base/errors.js";
import type { AppLog } from "./app-log.js";
import { findFreePort } from "./free-port.js";
import { type HealthCheck, waitUntilHealthy } from "./health-check.js";
import { WEB_TYPE, type LaunchRelease } from "./launch-release.js";
import { createOutputLines, linesOf } from "./output-lines.js";
import type { ProcessEnd, ProcessRunner } from "./process-runner.js";
import { createRequestsAtWork, type RequestsAtWork } from "./requests-at-work.js";
import { restartDelayMs, STEADY_MS } from "./restart-delay.js";
import { environmentOf, startCommand } from "./start-command.js";

export interface ProcessHost {
  readonly runner: ProcessRunner;
  readonly log: AppLog;
  readonly health: HealthCheck;
  /** What every process has in its environment. */
  readonly environment: Readonly<Record<string, string>>;
  readonly limits?: object | undefined;
  /** For tests. @default restartDelayMs */
  readonly restartDelayMs?: (ends: number) => number;
}

export interface ProcessOrder {
  readonly release: LaunchRelease;
  /** Where the release's files are. */
  readonly directory: string;
  readonly type: string;
  /** 1 in `web.1`. */
  readonly index: number;
}

/** `crashed`: it has ended, and will be started again. */
export type ProcessState = "starting" | "up" | "crashed" | "stopping" | "stopped";

export interface SupervisedProcess {
  readonly name: string;
  readonly type: string;
  readonly index: number;
  readonly command: string;
  readonly state: ProcessState;
  /** Since when it is in that state; milliseconds. */
  readonly since: number;
  readonly restarts: number;
  /** Where it listens; of web processes only, and another after each start. */
  readonly port: number | undefined;
  readonly requests: RequestsAtWork;
  /** Settles when it is up for the first time. @throws deploy/launch-failed when its first start comes to nothing */
  readonly firstUp: Promise<void>;
  /**
   * Nobody is sent to it any more; requests at work have so long to end before it is told to.
   * @returns when nothing of it is left. A second call may bring that nearer
   */
  stop(drainMs?: number): Promise<void>;
}

/** @param command as in the Procfile */
export function superviseProcess(host: ProcessHost, order: ProcessOrder, command: string): SupervisedProcess {
  const { runner, log, health, environment, limits } = host;
  const { release, directory, type, index } = order;
  const delayOf = host.restartDelayMs ?? restartDelayMs;
  const name = `${type}.${index}`;
  const requests = createRequestsAtWork();
  const stopping = new AbortController();
  const first = createFirstUp();
  let state: ProcessState = "starting";
  let since = Date.now();
  let restarts = 0;
  let port: number | undefined;
  let isLeaving = false;

  const enter = (next: ProcessState): void => {
    state = next;
    since = Date.now();
  };
  const say = (text: string): Promise<void> => log.write(`gitwharf[${name}]`, linesOf(text));

  /** One start, until its end. */
  const runOnce = async (): Promise<string> => {
    port = type === WEB_TYPE ? await findFreePort() : undefined;
    const failed = new AbortController();
    const ended = new AbortController();
    const lines = createOutputLines();
    await say(`Starting process with command \`${command}\``);
    const running = runner
      .run({
        directory,
        command: startCommand(command),
        environment: environmentOf({ release, name, directory, port, base: environment }),
        ...(limits === undefined ? {} : { limits }),
        signal: AbortSignal.any([stopping.signal, failed.signal]),
        onOutput: (chunk) => log.write(`app[${name}]`, lines.add(chunk)),
      })
      .catch(
        (error: unknown): ProcessEnd => ({
          status: undefined,
          ended: `it could not be started: ${textOf(error)}`,
        }),
      )
      .finally(() => ended.abort());
    let complaint: string | undefined;
    try {
      if (port !== undefined) await waitUntilHealthy(port, health, ended.signal);
      if (!ended.signal.aborted && !isLeaving) {
        enter("up");
        first.resolve();
        if (port !== undefined) await say("State changed from starting to up");
      }
    } catch (error) {
      if (!ended.signal.aborted) {
        complaint = textOf(error);
        await say(`Error R10 (Boot timeout) -> ${complaint}`);
        failed.abort();
      }
    }
    const end = await running;
    await log.write(`app[${name}]`, lines.end());
    return complaint ?? end.ended ?? `it ended with status ${end.status ?? "unknown"}`;
  };

  const supervise = async (): Promise<void> => {
    let endsInARow = 0;
    while (!isLeaving) {
      const startedAt = performance.now();
      enter("starting");
      let why: string;
      try {
        why = await runOnce();
      } catch (error) {
        // No free port, say: as bad as a process that ends at once, and no worse.
        why = textOf(error);
      }
      if (isLeaving) break;
      enter("crashed");
      port = undefined;
      endsInARow = performance.now() - startedAt >= STEADY_MS ? 1 : endsInARow + 1;
      first.reject(new GitwharfError("deploy/launch-failed", `${name}: ${why}`));
      const waitMs = delayOf(endsInARow);
      await say(`Process has ended: ${why}; starting it again in ${waitMs / 1000} seconds`);
      await setTimeoutPromise(waitMs, undefined, { signal: stopping.signal }).catch(() => undefined);
      restarts++;
    }
    port = undefined;
    enter("stopped");
    first.reject(new GitwharfError("base/aborted", `${name} was stopped`));
    await say("Stopped");
  };
  const supervised = supervise();

  return {
    name,
    type,
    index,
    command,
    get state() {
      return state;
    },
    get since() {
      return since;
    },
    get restarts() {
      return restarts;
    },
    get port() {
      return state === "up" && !isLeaving ? port : undefined;
    },
    requests,
    firstUp: first.promise,
    async stop(drainMs = 0) {
      if (!isLeaving) {
        isLeaving = true;
        enter("stopping");
      }
      await requests.idle(drainMs);
      stopping.abort();
      await supervised;
    },
  };
}

interface FirstUp {
  readonly promise: Promise<void>;
  resolve(): void;
  reject(error: GitwharfError): void;
}

function createFirstUp(): FirstUp {
  let resolve: () => void = () => undefined;
  let reject: (error: GitwharfError) => void = () => undefined;
  const promise = new Promise<void>((fulfil, fail) => {
    resolve = fulfil;
    reject = fail;
  });
  // Who does not ask must not end the server by that.
  promise.catch(() => undefined);
  return { promise, resolve, reject };
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
