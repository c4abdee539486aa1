/**
 * Temporary directories that end with this process, also when it is killed. A name tells whose the directory is; what
 * the dead have left is removed by who is configured next.
 *
 *     gitwharf-KIND-HOST-PID-START-RANDOM
 *
 * KIND: `hooks` or `receive`. HOST: 8 hexadecimal digits that stand for the host's name; who lives on another host (or in
 * another container) cannot be said here. START: when the process began, in the system's ticks, for numbers of processes
 * are used again; 0 where the system does not tell. Specification of START: proc(5), field 22 of `/proc/PID/stat`.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { lstat, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";

export type TemporaryKind = "hooks" | "receive";

const HOST = createHash("sha256").update(hostname()).digest("hex").slice(0, 8);
const NAME =
  /^gitwharf-(?:hooks|receive)-(?<host>[0-9a-f]{8})-(?<pid>[1-9][0-9]{0,9})-(?<start>[0-9]{1,20})-/;
const UNKNOWN_START = "0";
const START = ownStart();

/** For this process alone; who made it removes it. */
export function makeTemporaryDirectory(parent: string, kind: TemporaryKind): Promise<string> {
  return mkdtemp(join(parent, `gitwharf-${kind}-${HOST}-${process.pid}-${START}-`));
}

/** One that stays: nobody ever removes it. */
export function makeKeptDirectory(parent: string): Promise<string> {
  return mkdtemp(join(parent, "gitwharf-kept-"));
}

/** Removes what processes of this user on this host that live no more have left there. Never throws. */
export async function sweepTemporaryDirectories(parent: string): Promise<void> {
  const names = await readdir(parent).catch((): string[] => []);
  for (const name of names) {
    const { host, pid = "", start = "" } = NAME.exec(name)?.groups ?? {};
    if (host !== HOST || (await isAlive(Number(pid), start))) continue;
    const path = join(parent, name);
    try {
      const stats = await lstat(path);
      const isOurs = stats.isDirectory() && stats.uid === (process.getuid?.() ?? stats.uid);
      if (isOurs) await rm(path, { recursive: true, force: true, maxRetries: 3 });
    } catch {
      // Somebody else sweeps, or the directory cannot be removed: no reason not to serve.
    }
  }
}

async function isAlive(pid: number, start: string): Promise<boolean> {
  if (START === UNKNOWN_START || start === UNKNOWN_START) return exists(pid);
  try {
    return startOf(await readFile(`/proc/${pid}/stat`, "latin1")) === start;
  } catch {
    return exists(pid);
  }
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return !(error instanceof Error && "code" in error && error.code === "ESRCH");
  }
}

function ownStart(): string {
  try {
    return startOf(readFileSync("/proc/self/stat", "latin1")) ?? UNKNOWN_START;
  } catch {
    return UNKNOWN_START;
  }
}

/** The name of the program, in brackets, may hold anything. undefined: dead, though nobody has waited for it yet. */
function startOf(stat: string): string | undefined {
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return fields[0] === "Z" || fields[0] === "X" ? undefined : fields[19];
}
