/** Can the directory of repositories be read and written? Asked of the disk itself: permissions do not tell of a full one. */
import { randomUUID } from "node:crypto";
import { mkdir, readFile, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { GitwharfError } from "../../base/errors.js";

const MARK = "gitwharf\n";

/** @returns a function that throws storage/io. The directory is made the first time; one that is lost later is not. */
export function createDirectoryProbe(directory: string): () => Promise<void> {
  let isMade = false;
  return async () => {
    const path = join(directory, `.gitwharf-probe-${randomUUID()}`);
    try {
      if (!isMade) await mkdir(directory, { recursive: true });
      isMade = true;
      try {
        await writeFile(path, MARK, { flag: "wx", mode: 0o600 });
        if ((await readFile(path, "utf8")) !== MARK) throw new Error("what was written is not what is read");
      } finally {
        // When it was not made there is nothing to remove, and the first error is the one to tell.
        await unlink(path).catch(() => undefined);
      }
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new GitwharfError("storage/io", `repositories cannot be kept in ${directory}: ${why}`, { cause });
    }
  };
}
