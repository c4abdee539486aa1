/**
 * Processes of executions whose server is no more: killed, it could end nothing. A process is known by a variable in its
 * environment, or by the same words among its arguments; a directory by its name. Specification: proc(5).
 */
import { readFileSync } from "node:fs";
import { lstat, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isLeftBehind } from "./execution-names.js";
import { COOKIE_VARIABLE, processes, sendSignal } from "./process-tree.js";

const ROUNDS_MAX = 20;

/** With what they start meanwhile. */
export function endLeftBehind(): void {
  for (let round = 0; round < ROUNDS_MAX; round++) {
    const found = processes().filter(
      (pid) => pid !== process.pid && (isMarked(pid, "environ") || isMarked(pid, "cmdline")),
    );
    if (found.length === 0) return;
    for (const pid of found) sendSignal(pid, "SIGKILL");
  }
}

/** Of the temporary directory. */
export async function removeDirectoriesLeftBehind(): Promise<void> {
  for (const name of (await readdir(tmpdir())).filter(isLeftBehind)) {
    const path = join(tmpdir(), name);
    // Anybody may call a directory there so.
    const found = await lstat(path).catch(() => undefined);
    if (found?.isDirectory() === true && found.uid === process.getuid?.())
      await rm(path, { recursive: true, force: true });
  }
}

function isMarked(pid: number, file: "environ" | "cmdline"): boolean {
  try {
    const words = readFileSync(`/proc/${pid}/${file}`, "latin1");
    const name = new RegExp(`(?:^|\\0)${COOKIE_VARIABLE}[=\\0]([^\\0]*)`).exec(words)?.[1];
    return name !== undefined && isLeftBehind(name);
  } catch {
    // It has gone, or is another user's.
    return false;
  }
}
