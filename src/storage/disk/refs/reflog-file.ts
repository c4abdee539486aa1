/** Reflogs as files below `logs/`. The lines are described in storage/refs/reflog-entry.ts. */
import * as fs from "node:fs";
import { dirname } from "node:path";
import type { ObjectFormat } from "../../../object/object-format.js";
import type { ReflogEntry } from "../../contracts/ref-store.js";
import { formatReflogLine, parseReflog } from "../../refs/reflog-entry.js";
import { readSmallFile } from "../cached-file.js";
import { syncDescriptor } from "../descriptor.js";
import { errorCode, ioError, isAbsent } from "../file-errors.js";
import { applyMode, type LockOptions, makeDirectories } from "./lock-file.js";
import { clearEmptyDirectory, isDirectory } from "./ref-directories.js";

const SIZE_BYTES_MAX = 256 * 1024 * 1024;

/** Oldest first; none when there is no log. @throws storage/io */
export async function readReflogFile(path: string, format: ObjectFormat): Promise<readonly ReflogEntry[]> {
  try {
    const bytes = await readSmallFile(path, SIZE_BYTES_MAX);
    return bytes === undefined ? [] : parseReflog(bytes.toString("utf8"), format);
  } catch (error) {
    if (errorCode(error instanceof Error ? error.cause : error) === "EISDIR") return [];
    throw error;
  }
}

export function hasReflogFile(path: string): boolean {
  try {
    return fs.statSync(path, { throwIfNoEntry: false })?.isFile() === true;
  } catch {
    return false;
  }
}

export interface AppendOptions extends Pick<LockOptions, "shared" | "onDirectoryMade"> {
  /** Begin a log where there is none. */
  readonly create: boolean;
  readonly sync: boolean;
}

/** One write call a line, so that two processes' lines do not mix. @throws storage/io */
export async function appendReflog(path: string, entry: ReflogEntry, options: AppendOptions): Promise<void> {
  const fd = openLog(path, options);
  if (fd === undefined) return;
  try {
    fs.writeSync(fd, formatReflogLine(entry));
    if (options.sync) await syncDescriptor(fd);
  } catch (error) {
    throw ioError("writing", path, error);
  } finally {
    fs.closeSync(fd);
  }
}

function openLog(path: string, options: AppendOptions): number | undefined {
  const flags = fs.constants.O_APPEND | fs.constants.O_WRONLY | (options.create ? fs.constants.O_CREAT : 0);
  for (let attempt = 0; ; attempt++) {
    try {
      const fd = fs.openSync(path, flags, 0o666);
      if (options.create) applyMode(path, options.shared);
      return fd;
    } catch (error) {
      const code = errorCode(error);
      if (!options.create && (isAbsent(error) || code === "EISDIR")) return undefined;
      if (attempt === 3) throw ioError("opening", path, error);
      if (code === "EISDIR") clearEmptyDirectory(path);
      else if (code !== "ENOENT" || makeDirectories(dirname(path), options) !== undefined)
        throw ioError("opening", path, error);
    }
  }
}

/** @throws storage/io */
export function removeReflogFile(path: string): void {
  try {
    fs.unlinkSync(path);
  } catch (error) {
    if (!isAbsent(error) && !isDirectory(path)) throw ioError("removing", path, error);
  }
}
