/**
 * The directory of this machine in which a process keeps pushes on their way and copies of what it reads. It goes with the
 * process, and what a process that was killed has left goes when another is opened there: while one runs, it says so.
 *
 *     gitwharf-object-store-XXXXXX/        changed at least once an hour
 *         spool/                           directories of pushes
 *         cache/                           files without a name
 */
import { lstat, mkdir, mkdtemp, readdir, rm, utimes } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ioError } from "../disk/file-errors.js";

const PREFIX = "gitwharf-object-store-";
const NAME = /^gitwharf-object-store-[A-Za-z0-9]{6}$/;
const HOUR_MS = 60 * 60 * 1000;
const LEFT_MS = 24 * HOUR_MS;

export interface LocalDirectory {
  readonly spoolDirectory: string;
  /** Not made yet. */
  readonly cacheDirectory: string;
  /** Removes it. */
  close(): Promise<void>;
}

/** @param asked made when it is missing. @default the directory for temporary files. @throws storage/io */
export async function openLocalDirectory(asked: string | undefined): Promise<LocalDirectory> {
  const parent = asked ?? tmpdir();
  let path: string;
  try {
    if (asked !== undefined) await mkdir(asked, { recursive: true, mode: 0o700 });
    path = await mkdtemp(join(parent, PREFIX));
    await mkdir(join(path, "spool"), { mode: 0o700 });
  } catch (cause) {
    throw ioError("making a directory in", parent, cause);
  }
  const timer = setInterval(() => {
    const now = new Date();
    utimes(path, now, now).catch(() => undefined);
  }, HOUR_MS);
  timer.unref();
  await removeLeft(parent, path);
  return {
    spoolDirectory: join(path, "spool"),
    cacheDirectory: join(path, "cache"),
    async close() {
      clearInterval(timer);
      await rm(path, { recursive: true, force: true });
    },
  };
}

/** What cannot be removed is for whoever opens the next one, or is not ours. */
async function removeLeft(parent: string, own: string): Promise<void> {
  // By the clock that the others' times are of.
  const { mtimeMs: nowMs } = await lstat(own).catch(() => ({ mtimeMs: 0 }));
  const names = await readdir(parent).catch(() => []);
  for (const name of names) {
    if (!NAME.test(name)) continue;
    const path = join(parent, name);
    try {
      const stats = await lstat(path);
      if (stats.isDirectory() && nowMs - stats.mtimeMs > LEFT_MS)
        await rm(path, { recursive: true, force: true });
    } catch {
      // As above.
    }
  }
}
