/**
 * A plain process, for development: it may do whatever the server may. Its time, output, files and disk are bounded, and what
 * it leaves behind is found and ended.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { attendProcess } from "./attend-process.js";
import { executionName } from "./execution-names.js";
import type { Executor } from "./executor.js";
import { endLeftBehind } from "./left-behind.js";
import { ONE_OUTPUT } from "./one-output.js";
import { COOKIE_VARIABLE, descendantsOf, processesWithCookie, sendSignal } from "./process-tree.js";
import { LIMITING_PROGRAM, limitingCommand } from "./resource-limits.js";

export interface PlainOptions {
  /** Told once, when it is checked. @default a line on standard error */
  readonly warn?: (text: string) => void;
}

/** Whoever starts processes faster than this finds them is stopped by the limits of the machine only. */
const KILL_ROUNDS = 20;
const FOLLOWING_PROGRAM = "/usr/bin/setpriv";

export function createPlainExecutor(options: PlainOptions = {}): Executor {
  const { warn = (text) => void process.stderr.write(`${text}\n`) } = options;
  const canLimit = existsSync(LIMITING_PROGRAM);
  const canFollow = existsSync(FOLLOWING_PROGRAM);
  return {
    name: "plain",
    isIsolating: false,
    user: undefined,
    async check() {
      warn(
        "warning: builds run as plain processes: whoever may push can do on this machine whatever the server may; " +
          "use the sandbox for anybody but yourself",
      );
    },
    tidy: async () => endLeftBehind(),
    placeOf: (mount) => mount.source,
    async run(execution) {
      const cookie = executionName(execution.name);
      const { limits } = execution;
      // The number of processes is one of the user's, the server's own among them.
      const command = [
        ...ONE_OUTPUT,
        // With the server, if that is killed, at least the first of them ends.
        ...(canFollow ? [FOLLOWING_PROGRAM, "--pdeathsig=KILL", "--"] : []),
        ...(canLimit ? limitingCommand(limits, { memory: false, processes: true }) : []),
        ...execution.command,
      ];
      let child: ChildProcess;
      try {
        child = spawn(command[0] as string, command.slice(1), {
          cwd: execution.directory,
          env: { ...execution.environment, [COOKIE_VARIABLE]: cookie },
          stdio: ["ignore", "pipe", "pipe"],
          detached: true,
        });
      } catch (error) {
        return {
          status: undefined,
          ended: `it could not be started: ${error instanceof Error ? error.message : String(error)}`,
        };
      }
      const { pid } = child;
      const all = (): readonly number[] => [
        ...new Set([...(pid === undefined ? [] : descendantsOf(pid)), ...processesWithCookie(cookie)]),
      ];
      return attendProcess({
        child,
        execution,
        processes: all,
        terminate() {
          // Once to each: a second one would find some of them at clearing up.
          for (const each of new Set([...(pid === undefined ? [] : [pid]), ...all()]))
            sendSignal(each, "SIGTERM");
        },
        kill() {
          for (let round = 0; round < KILL_ROUNDS; round++) {
            const others = all().filter((each) => each !== pid || child.exitCode === null);
            if (round === 0 && pid !== undefined) sendSignal(-pid, "SIGKILL");
            if (others.length === 0) return;
            for (const each of others) sendSignal(each, "SIGKILL");
          }
        },
      });
    },
  };
}
