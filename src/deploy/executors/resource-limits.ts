/**
 * Limits of each process, set by `prlimit` before the program starts. Never above what the server itself may have: nobody
 * could set that. Specification: prlimit(1), getrlimit(2).
 */
import { readFileSync } from "node:fs";
import type { ExecutionLimits } from "./executor.js";

export const LIMITING_PROGRAM = "/usr/bin/prlimit";

/** In front of a command. @param counts what control groups count instead */
export function limitingCommand(
  limits: ExecutionLimits,
  counts: { readonly memory: boolean; readonly processes: boolean },
): readonly string[] {
  const hard = hardLimits();
  const option = (name: string, row: string, wanted: number): readonly string[] => {
    const value = Math.min(wanted, hard.get(row) ?? Infinity);
    return value === Infinity ? [] : [`--${name}=${Math.floor(value)}`];
  };
  return [
    // Not by the PATH, which is the program's.
    LIMITING_PROGRAM,
    "--core=0",
    ...option("nofile", "Max open files", limits.openFilesMax),
    ...option("fsize", "Max file size", limits.fileBytesMax),
    // Address space would not do: V8 and WebAssembly reserve a lot of it that they never use.
    ...(counts.memory ? [] : option("data", "Max data size", limits.memoryBytesMax)),
    ...(counts.processes ? [] : option("nproc", "Max processes", limits.processesMax)),
    "--",
  ];
}

/** Of the server itself, by the names of proc(5); a limit that there is not is left out. */
export function hardLimits(): ReadonlyMap<string, number> {
  const found = new Map<string, number>();
  let text: string;
  try {
    text = readFileSync("/proc/self/limits", "latin1");
  } catch {
    return found;
  }
  for (const [, name = "", hard = ""] of text.matchAll(/^(Max [a-z ]+?) {2,}\S+ +(\S+)/gm))
    if (hard !== "unlimited") found.set(name, Number(hard));
  return found;
}
