/** Whether a process runs, and files that processes write for a test to see. */
import { existsSync, readFileSync } from "node:fs";

/** A killed process that nobody has waited for yet is not running. */
export function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "latin1"));
  } catch {
    return false;
  }
}

/** A signal is sent before it is obeyed. */
export async function stops(...pids: readonly number[]): Promise<void> {
  await becomes(() => !pids.some(isRunning), `${pids.join(", ")} have ended`);
}

/** Waits for a file with a whole line. @returns what it says */
export async function appears(file: string): Promise<string> {
  await becomes(() => existsSync(file) && readFileSync(file, "latin1").endsWith("\n"), file);
  return readFileSync(file, "latin1");
}

/** @param what for the message, when it never is so */
export async function becomes(isSo: () => boolean, what: string): Promise<void> {
  for (let looks = 0; !isSo(); looks++) {
    if (looks > 2000) throw new Error(`this never is so: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
