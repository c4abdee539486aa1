/**
 * The processes that a program has started, and theirs, as Linux tells in /proc. A daemon that has left its parents is
 * found by a variable in its environment, which it inherits whatever it does to its session and its group.
 * Specification: proc(5).
 */
import { readdirSync, readFileSync } from "node:fs";

/** Carries the name of an execution, which nothing else has. */
export const COOKIE_VARIABLE = "GITWHARF_EXECUTION";

/** Not `root` itself; parents before their children. Empty where there is no /proc. */
export function descendantsOf(root: number): readonly number[] {
  const children = new Map<number, number[]>();
  for (const pid of processes()) {
    const parent = parentOf(pid);
    if (parent === undefined) continue;
    const siblings = children.get(parent);
    if (siblings === undefined) children.set(parent, [pid]);
    else siblings.push(pid);
  }
  const found: number[] = [];
  for (let next: readonly number[] = children.get(root) ?? []; next.length > 0; ) {
    found.push(...next);
    next = next.flatMap((pid) => children.get(pid) ?? []);
  }
  return found;
}

export function childrenOf(root: number): readonly number[] {
  return processes().filter((pid) => parentOf(pid) === root);
}

/** Those that were started with the cookie, wherever they are by now. */
export function processesWithCookie(cookie: string): readonly number[] {
  const wanted = Buffer.from(`${COOKIE_VARIABLE}=${cookie}\0`);
  return processes().filter((pid) => {
    if (pid === process.pid) return false;
    try {
      return readFileSync(`/proc/${pid}/environ`).includes(wanted);
    } catch {
      return false;
    }
  });
}

/** One that has ended and that nobody has asked about does not count. */
export function isAlive(pid: number): boolean {
  const state = statusOf(pid)?.[0];
  return state !== undefined && state !== "Z" && state !== "X";
}

/** Tells a process from one that has had its id before. */
export function startTimeOf(pid: number): string | undefined {
  return statusOf(pid)?.[19];
}

export function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has gone, or is somebody else's.
  }
}

export function processes(): readonly number[] {
  try {
    return readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name))
      .map(Number);
  } catch {
    return [];
  }
}

function parentOf(pid: number): number | undefined {
  const parent = statusOf(pid)?.[1];
  return parent === undefined ? undefined : Number(parent);
}

/** State, parent, and so on. */
function statusOf(pid: number): readonly string[] | undefined {
  try {
    // The name in parentheses may hold anything.
    const text = readFileSync(`/proc/${pid}/stat`, "latin1");
    return text.slice(text.lastIndexOf(")") + 2).split(" ");
  } catch {
    return undefined;
  }
}
