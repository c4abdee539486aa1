/**
 * Makes an empty file for its owner alone, unless it is there. One that is there is not opened: closing it again would take
 * away the locks that the process holds on it (POSIX), and SQLite keeps its order by such locks.
 */
import { closeSync, openSync } from "node:fs";

export function makePrivateFile(path: string): void {
  try {
    closeSync(openSync(path, "ax", 0o600));
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
  }
}
