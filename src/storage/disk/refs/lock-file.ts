/**
 * Git's own lock protocol: `PATH.lock` made with O_EXCL, written, synced, renamed over PATH.
 * Specification: api-lockfile in git's sources; every git that runs beside us obeys it.
 */
import { constants } from "node:fs";
import { type FileHandle, mkdir, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { GitwharfError } from "../../../base/errors.js";
import { errorCode, ioError } from "../file-errors.js";

export interface LockFileOptions {
  /** How long to try when another process holds it. */
  readonly timeoutMs: number;
  /** Mode bits of the file. @default 0o666, less the umask */
  readonly mode?: number;
}

/**
 * Makes the lock. Nothing is kept open: the existence of the file is the lock.
 * @throws storage/locked when it is held (or was left behind), storage/io
 */
export async function takeLock(path: string, options: LockFileOptions): Promise<LockFile> {
  const lockPath = `${path}.lock`;
  const started = Date.now();
  for (let attempt = 1; ; attempt++) {
    try {
      const file = await open(lockPath, constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY, options.mode ?? 0o666);
      await file.close();
      return new LockFile(path, lockPath);
    } catch (cause) {
      const code = errorCode(cause);
      if (code === "ENOENT" && attempt < 10) {
        // The directory is missing, or another process just removed it because it was empty.
        await makeDirectory(dirname(path));
      } else if (code === "EEXIST") {
        if (Date.now() - started >= options.timeoutMs) {
          throw new GitwharfError(
            "storage/locked",
            `${lockPath} exists: another process is changing it; if none is running, one was killed: remove the file`,
          );
        }
        await delay(Math.min(5 * attempt, 50));
      } else throw ioError("locking", path, cause);
    }
  }
}

async function makeDirectory(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true });
  } catch (cause) {
    throw ioError("making", path, cause);
  }
}

export class LockFile {
  readonly path: string;
  readonly #lockPath: string;
  #held = true;

  constructor(path: string, lockPath: string) {
    this.path = path;
    this.#lockPath = lockPath;
  }

  /** Puts the content in place and gives the lock up. @throws storage/io */
  async commit(content: Uint8Array, options: { readonly sync: boolean }): Promise<void> {
    let file: FileHandle | undefined;
    try {
      file = await open(this.#lockPath, "w");
      await file.writeFile(content);
      if (options.sync) await file.datasync();
      await file.close();
      file = undefined;
      await rename(this.#lockPath, this.path);
      this.#held = false;
    } catch (cause) {
      await file?.close();
      throw ioError("writing", this.path, cause);
    }
  }

  /** Gives the lock up without a change. Idempotent. */
  async release(): Promise<void> {
    if (!this.#held) return;
    this.#held = false;
    await rm(this.#lockPath, { force: true });
  }
}

/** Makes renames and removals in a directory durable. */
export async function syncDirectory(path: string): Promise<void> {
  let handle: FileHandle;
  try {
    handle = await open(path, "r");
  } catch (cause) {
    // It may have been removed as empty meanwhile: then its parent is what counts.
    if (errorCode(cause) === "ENOENT") return;
    throw ioError("opening", path, cause);
  }
  try {
    await handle.sync();
  } catch (cause) {
    throw ioError("syncing", path, cause);
  } finally {
    await handle.close();
  }
}
