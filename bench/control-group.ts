/**
 * CPU time and memory of a server with all the processes it starts, by a Linux control group: fcgiwrap does not
 * wait for its children, so their time is in no process's own accounts.
 */
import { existsSync, mkdirSync, readFileSync, rmdirSync } from "node:fs";
import { spawn, type ChildProcess } from "node:child_process";

const V1 = "/sys/fs/cgroup/cpuacct";
const V2 = "/sys/fs/cgroup";

export interface ControlGroup {
  /** Starts a program inside the group. */
  spawn(command: string, args: readonly string[], env: NodeJS.ProcessEnv): ChildProcess;
  cpuSeconds(): number;
  /** Resident bytes of all processes in the group now. */
  residentBytes(): number;
  processes(): readonly number[];
  remove(): void;
}

export function createControlGroup(name: string): ControlGroup {
  const version1 = existsSync(V1);
  const directory = `${version1 ? V1 : V2}/${name}`;
  mkdirSync(directory, { recursive: true });
  const processes = (): readonly number[] =>
    readFileSync(`${directory}/cgroup.procs`, "utf8").split("\n").filter(Boolean).map(Number);
  return {
    spawn(command, args, env) {
      const script = `echo $$ > ${directory}/cgroup.procs && exec "$0" "$@"`;
      return spawn("/bin/sh", ["-c", script, command, ...args], {
        env,
        stdio: ["ignore", "pipe", "inherit"],
      });
    },
    cpuSeconds() {
      if (version1) return Number(readFileSync(`${directory}/cpuacct.usage`, "utf8")) / 1e9;
      const usage = /usage_usec (\d+)/.exec(readFileSync(`${directory}/cpu.stat`, "utf8"));
      return Number(usage?.[1]) / 1e6;
    },
    residentBytes() {
      let pages = 0;
      for (const pid of processes()) {
        try {
          pages += Number(readFileSync(`/proc/${pid}/statm`, "utf8").split(" ")[1]);
        } catch {
          // The process ended between the two reads: it holds no memory any more.
        }
      }
      return pages * 4096;
    },
    processes,
    remove() {
      for (let attempt = 0; attempt < 500 && processes().length > 0; attempt++) {
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
      }
      rmdirSync(directory);
    },
  };
}
