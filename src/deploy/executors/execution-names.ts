/**
 * Names of executions say whose they are. What a program has started may go on when the server is killed: the next one finds
 * it by its name, and sees in /proc that nobody waits for it any more. Specification: proc(5), pid_namespaces(7).
 */
import { randomUUID } from "node:crypto";
import { readlinkSync } from "node:fs";
import { startTimeOf } from "./process-tree.js";

/** A new one: `gitwharf-4026531836.123.456-build-…`. @param what letters, digits and `-` */
export function executionName(what: string): string {
  const begun = startTimeOf(process.pid) ?? 0;
  return `gitwharf-${namespace()}.${process.pid}.${begun}-${what}-${randomUUID().slice(0, 8)}`;
}

/** Of a server of ours on this machine, which is no more. */
export function isLeftBehind(name: string): boolean {
  const found = /^gitwharf-(\d+)\.(\d+)\.(\d+)-/.exec(name);
  if (found === null) return false;
  const [, space, pid, begun] = found;
  // Elsewhere the same number is another process.
  return space !== "0" && space === namespace() && startTimeOf(Number(pid)) !== begun;
}

function namespace(): string {
  try {
    return /\d+/.exec(readlinkSync("/proc/self/ns/pid"))?.[0] ?? "0";
  } catch {
    return "0";
  }
}
