/** Reads the log of an app, its last lines first, and follows it where the writer goes, also when it begins a new file. */
import { open, readdir, stat, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { LOG_FILE } from "./app-log.js";

export interface ReadLogOptions {
  /** Of those that are there. @default 100 */
  readonly lines?: number;
  /** Only of this process (`web.1`) or of processes of this type (`web`). @default all */
  readonly process?: string | undefined;
  /** Wait for more, until the signal. @default false */
  readonly follow?: boolean;
  readonly signal?: AbortSignal;
  /** How often is looked for more. @default 250 */
  readonly pollMs?: number;
}

const CHUNK_BYTES = 64 * 1024;

/** Lines without their line breaks. None: nothing was ever logged. */
export async function* readLog(directory: string, options: ReadLogOptions = {}): AsyncGenerator<string> {
  const { lines: max = 100, follow = false, signal, pollMs = 250 } = options;
  const isWanted = matcherOf(options.process);
  const decoder = new TextDecoder();
  let rest = "";
  /** Until all that was there has been read. */
  let last: string[] | undefined = [];
  for await (const portion of portions(directory)) {
    if (signal?.aborted === true) return;
    if (portion === undefined) {
      if (last !== undefined) yield* max === 0 ? [] : last.slice(-max);
      last = undefined;
      if (!follow) return;
      // An abort ends the waiting; the next round sees it.
      await setTimeout(pollMs, undefined, signal === undefined ? {} : { signal }).catch(() => undefined);
      continue;
    }
    const parts = (rest + decoder.decode(portion, { stream: true })).split("\n");
    rest = parts.pop() ?? "";
    const wanted = parts.filter(isWanted);
    if (last === undefined) yield* wanted;
    else {
      last.push(...wanted);
      // In portions: shifting one by one would cost the square.
      if (last.length > 2 * max + 1000) last = max === 0 ? [] : last.slice(-max);
    }
  }
}

interface OpenFile {
  readonly handle: FileHandle;
  readonly inode: number;
}

/** The bytes of all files in order; undefined: that is all for now. A portion is valid until the next one is asked for. */
async function* portions(directory: string): AsyncGenerator<Uint8Array | undefined> {
  const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
  let current: OpenFile | undefined;
  try {
    for (;;) {
      current ??= await openAfter(directory, undefined);
      if (current === undefined) {
        yield undefined;
        continue;
      }
      if (yield* readSome(current, buffer)) continue;
      const next = await openAfter(directory, current.inode);
      if (next === undefined) {
        yield undefined;
        continue;
      }
      // What was written before the writer went on to the next file.
      while (yield* readSome(current, buffer));
      await current.handle.close();
      current = next;
    }
  } finally {
    await current?.handle.close();
  }
}

async function* readSome({ handle }: OpenFile, buffer: Buffer): AsyncGenerator<Uint8Array, boolean> {
  const { bytesRead } = await handle.read(buffer, 0, buffer.length, null);
  if (bytesRead > 0) yield buffer.subarray(0, bytesRead);
  return bytesRead > 0;
}

/** The file after the one of this inode; the oldest when that is gone, or none was read yet. */
async function openAfter(directory: string, inode: number | undefined): Promise<OpenFile | undefined> {
  try {
    const files = await standingFiles(directory);
    if (files === undefined) return undefined;
    const file = files[files.findIndex((one) => one.inode === inode) + 1];
    if (file === undefined) return undefined;
    const handle = await open(file.path, "r");
    if ((await handle.stat()).ino === file.inode) return { handle, inode: file.inode };
    // They were renamed meanwhile: the next look finds them in order.
    await handle.close();
    return undefined;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}

interface LogFile {
  readonly path: string;
  readonly inode: number;
}

const LOOKS_MAX = 20;

/**
 * In the order of their age, as two looks in a row have seen them: in between the writer may give all of them other names, and
 * one of them would seem to be gone. undefined: he does it all the time.
 */
async function standingFiles(directory: string): Promise<readonly LogFile[] | undefined> {
  const look = async (): Promise<readonly LogFile[]> => {
    const files: LogFile[] = [];
    for (const name of await oldestFirst(directory)) {
      const path = join(directory, name);
      files.push({ path, inode: (await stat(path)).ino });
    }
    return files;
  };
  let files = await look();
  for (let looks = 1; looks < LOOKS_MAX; looks++) {
    const before = files;
    files = await look();
    if (before.length === files.length && before.every(({ inode }, i) => inode === files[i]?.inode))
      return files;
  }
  return undefined;
}

async function oldestFirst(directory: string): Promise<readonly string[]> {
  const ageOf = (name: string): number => Number(name.slice(LOG_FILE.length + 1));
  return (await readdir(directory))
    .filter((name) => name === LOG_FILE || /^app\.log\.[0-9]{1,6}$/.test(name))
    .toSorted((a, b) => ageOf(b) - ageOf(a));
}

function matcherOf(process: string | undefined): (line: string) => boolean {
  if (process === undefined) return () => true;
  const isOne = process.includes(".");
  return (line) => {
    const name = /^\S+ [a-z]+\[([^\]]{1,200})\]: /.exec(line)?.[1];
    return name !== undefined && (isOne ? name === process : name.split(".", 1)[0] === process);
  };
}
