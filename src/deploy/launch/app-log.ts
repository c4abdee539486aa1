/**
 * The log of an app: lines in `app.log`, which becomes `app.log.1`, `app.log.2`, … when it is full; the oldest goes. One
 * writer a file: this process. A line is `2026-11-21T10:00:00.000Z app[web.1]: TEXT`.
 *
 * Why not a library: the writer is a queue of one and a rename; what matters is that a writer waits for the disk (so that a
 * process that prints without end slows itself down) and that a reader in another process can follow.
 */
import { mkdir, open, rename, stat, type FileHandle } from "node:fs/promises";
import { join } from "node:path";

export interface AppLogOptions {
  readonly directory: string;
  /** @default 10 MiB */
  readonly fileBytesMax?: number;
  /** Full ones that are kept. @default 4 */
  readonly oldFilesMax?: number;
  /** Told once, until it works again: a full disk must not end a process. */
  readonly onFailure?: (error: unknown) => void;
  readonly now?: () => Date;
}

export interface AppLog {
  /**
   * @param source `app[web.1]`, or `gitwharf[web.1]` for what the supervisor says
   * @returns when the disk has taken it. Never rejects.
   */
  write(source: string, lines: readonly string[]): Promise<void>;
  close(): Promise<void>;
}

export const LOG_FILE = "app.log";

export function createAppLog(options: AppLogOptions): AppLog {
  const { directory, fileBytesMax = 10 * 1024 * 1024, oldFilesMax = 4, now = () => new Date() } = options;
  const path = join(directory, LOG_FILE);
  let file: FileHandle | undefined;
  let size = 0;
  let isFailing = false;
  let queue: Promise<void> = Promise.resolve();

  const openFile = async (): Promise<FileHandle> => {
    if (file !== undefined) return file;
    await mkdir(directory, { recursive: true, mode: 0o700 });
    file = await open(path, "a", 0o600);
    ({ size } = await file.stat());
    return file;
  };
  const closeFile = async (): Promise<void> => {
    const open = file;
    file = undefined;
    await open?.close();
  };
  const rotate = async (): Promise<void> => {
    await closeFile();
    for (let i = oldFilesMax - 1; i >= 0; i--) {
      const from = i === 0 ? path : `${path}.${i}`;
      if (await isThere(from)) await rename(from, `${path}.${i + 1}`);
    }
  };
  const append = async (bytes: Buffer): Promise<void> => {
    await openFile();
    if (size > 0 && size + bytes.length > fileBytesMax) await rotate();
    await (await openFile()).appendFile(bytes);
    size += bytes.length;
  };
  return {
    write(source, lines) {
      if (lines.length === 0) return queue;
      const time = now().toISOString();
      const bytes = Buffer.from(lines.map((line) => `${time} ${source}: ${line}\n`).join(""));
      queue = queue.then(async () => {
        try {
          await append(bytes);
          isFailing = false;
        } catch (error) {
          await closeFile().catch(() => undefined);
          if (!isFailing) options.onFailure?.(error);
          isFailing = true;
        }
      });
      return queue;
    },
    close() {
      queue = queue.then(() => closeFile().catch(() => undefined));
      return queue;
    },
  };
}

async function isThere(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch {
    return false;
  }
}
