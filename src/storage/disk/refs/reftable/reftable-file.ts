/** One file of a stack. It never changes, so what was read of it stays true as long as the stack names it. */
import * as fs from "node:fs";
import { GitwharfError, isGitwharfError } from "../../../../base/errors.js";
import type { ObjectFormat } from "../../../../object/object-format.js";
import { ioError } from "../../file-errors.js";
import { logKey, type LogRecord, type RefRecord } from "./records.js";
import { findLogBlock, forEachLog, parseLayout, parseRefs, type TableLayout } from "./table-reader.js";

/** Fifteen million refs, about. */
const REFS_BYTES_MAX = 512 * 1024 * 1024;
const LOGS_BYTES_MAX = 512 * 1024 * 1024;
const ENDS_BYTES = 72;

export interface ReftableFile {
  readonly name: string;
  readonly sizeBytes: number;
  readonly layout: TableLayout;
  /** Sorted; deletions among them. */
  readonly refs: readonly RefRecord[];
}

/** @throws storage/io (its cause ENOENT when another process compacted it), storage/bad-ref, storage/unsupported */
export function openReftableFile(directory: string, name: string, format: ObjectFormat): ReftableFile {
  return withFile(`${directory}/${name}`, (fd) => {
    const sizeBytes = fs.fstatSync(fd).size;
    const start = readRange(fd, 0, Math.min(sizeBytes, ENDS_BYTES));
    const end = readRange(fd, Math.max(0, sizeBytes - ENDS_BYTES), sizeBytes);
    const layout = parseLayout(start, end, sizeBytes, format);
    if (layout.refsEnd > REFS_BYTES_MAX) throw tooLarge(name);
    return { name, sizeBytes, layout, refs: parseRefs(readRange(fd, 0, layout.refsEnd), layout) };
  });
}

export function hasLogs({ layout }: ReftableFile): boolean {
  return layout.logsEnd > layout.logsStart;
}

/** All log records, in order. @throws storage/io (its cause ENOENT when it was compacted), storage/bad-ref */
export function readLogs(directory: string, file: ReftableFile): readonly LogRecord[] {
  const records: LogRecord[] = [];
  if (hasLogs(file))
    forEachLog(readLogBytes(directory, file), file.layout, (record) => void records.push(record));
  return records;
}

/** The log records of one ref, latest first. @throws as `readLogs` */
export function readLogsOf(directory: string, file: ReftableFile, name: string): readonly LogRecord[] {
  if (!hasLogs(file)) return [];
  const bytes = readLogBytes(directory, file);
  // Update indexes are kept upside down: the greatest comes first.
  const from = findLogBlock(bytes, file.layout, logKey(name, Number.MAX_SAFE_INTEGER));
  const records: LogRecord[] = [];
  let before = true;
  if (from === undefined) return records;
  forEachLog(
    bytes,
    file.layout,
    (record) => {
      if (record.name === name) {
        before = false;
        records.push(record);
        return false;
      }
      return !before || Buffer.compare(Buffer.from(record.name), Buffer.from(name)) > 0;
    },
    from,
  );
  return records;
}

function readLogBytes(directory: string, { name, layout }: ReftableFile): Buffer {
  if (layout.logsEnd - layout.logsStart > LOGS_BYTES_MAX) throw tooLarge(name);
  return withFile(`${directory}/${name}`, (fd) => readRange(fd, layout.logsStart, layout.logsEnd));
}

function tooLarge(name: string): GitwharfError {
  return new GitwharfError(
    "storage/unsupported",
    `the reftable ${name} is larger than the ${REFS_BYTES_MAX} bytes that are read`,
  );
}

function withFile<T>(path: string, read: (fd: number) => T): T {
  let fd: number | undefined;
  try {
    fd = fs.openSync(path, "r");
    return read(fd);
  } catch (cause) {
    if (isGitwharfError(cause)) throw new GitwharfError(cause.code, `${path}: ${cause.message}`, { cause });
    throw ioError("reading", path, cause);
  } finally {
    if (fd !== undefined) fs.closeSync(fd);
  }
}

function readRange(fd: number, start: number, end: number): Buffer {
  const bytes = Buffer.allocUnsafe(end - start);
  for (let done = 0; done < bytes.length; ) {
    const read = fs.readSync(fd, bytes, done, bytes.length - done, start + done);
    if (read === 0) throw new GitwharfError("storage/bad-ref", "it is shorter than it was a moment ago");
    done += read;
  }
  return bytes;
}
