/** One file of a stack. It never changes, so what was read of it stays true as long as the stack names it. */
import * as fs from "node:fs";
import { GitwharfError, isGitwharfError } from "../../../../base/errors.js";
import type { ObjectFormat } from "../../../../object/object-format.js";
import { ioError } from "../../file-errors.js";
import { logKey, type LogRecord, type RefRecord } from "./records.js";
import {
  findLogBlock,
  forEachLog,
  parseLayout,
  parseRefs,
  type ReadRange,
  type TableLayout,
} from "./table-reader.js";
import { encodeText } from "./table-text.js";

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
  return withFile(`${directory}/${name}`, (read, sizeBytes) => {
    const start = read(0, Math.min(sizeBytes, ENDS_BYTES));
    const end = read(Math.max(0, sizeBytes - ENDS_BYTES), sizeBytes);
    const layout = parseLayout(start, end, sizeBytes, format);
    if (layout.refsEnd > REFS_BYTES_MAX) throw tooLarge(name);
    return { name, sizeBytes, layout, refs: parseRefs(read(0, layout.refsEnd), layout) };
  });
}

export function hasLogs({ layout }: ReftableFile): boolean {
  return layout.logsEnd > layout.logsStart;
}

/** All log records, in order. @throws storage/io (its cause ENOENT when it was compacted), storage/bad-ref */
export function readLogs(directory: string, file: ReftableFile): readonly LogRecord[] {
  const records: LogRecord[] = [];
  if (!hasLogs(file)) return records;
  if (file.layout.logsEnd - file.layout.logsStart > LOGS_BYTES_MAX) throw tooLarge(file.name);
  withFile(`${directory}/${file.name}`, (read) =>
    forEachLog(read, file.layout, (record) => void records.push(record)),
  );
  return records;
}

/** The log records of one ref, latest first. @throws as `readLogs` */
export function readLogsOf(directory: string, file: ReftableFile, name: string): readonly LogRecord[] {
  const records: LogRecord[] = [];
  if (!hasLogs(file)) return records;
  const bytes = Buffer.from(name);
  withFile(`${directory}/${file.name}`, (read) => {
    // Update indexes are kept upside down: the greatest comes first.
    const from = findLogBlock(read, file.layout, logKey(name, Number.MAX_SAFE_INTEGER));
    if (from === undefined) return;
    const visit = (record: LogRecord): boolean => {
      if (record.name !== name) return Buffer.compare(encodeText(record.name), bytes) > 0;
      records.push(record);
      return false;
    };
    forEachLog(read, file.layout, visit, from);
  });
  return records;
}

function tooLarge(name: string): GitwharfError {
  return new GitwharfError(
    "storage/unsupported",
    `the reftable ${name} is larger than the ${REFS_BYTES_MAX} bytes that are read`,
  );
}

function withFile<T>(path: string, use: (read: ReadRange, sizeBytes: number) => T): T {
  let fd: number | undefined;
  try {
    const opened = fs.openSync(path, "r");
    fd = opened;
    return use((start, end) => readRange(opened, start, end), fs.fstatSync(opened).size);
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
