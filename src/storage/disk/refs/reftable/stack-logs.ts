/** The logs that a stack of tables keeps: what a newer table says of an entry counts. */
import { GitwharfError } from "../../../../base/errors.js";
import type { ObjectFormat } from "../../../../object/object-format.js";
import { nullObjectId } from "../../../../object/object-id.js";
import type { ReflogEntry } from "../../../contracts/ref-store.js";
import { formatCommitter } from "../../../refs/reflog-entry.js";
import { isAbsent } from "../../file-errors.js";
import type { LogEntry, LogRecord } from "./records.js";
import { readLogsOf } from "./reftable-file.js";
import type { ReftableStack } from "./reftable-stack.js";
import { showText } from "./table-text.js";

const ATTEMPTS = 20;

/**
 * The entries of one ref, oldest first, with git's marker of a log that is empty as yet (both ids are null).
 * @throws storage/io, storage/bad-ref
 */
export function readStackLogs(
  stack: ReftableStack,
  name: string,
): readonly (LogRecord & { readonly entry: LogEntry })[] {
  for (let attempt = 1; ; attempt++) {
    try {
      const byIndex = new Map<number, LogRecord>();
      for (const table of stack.tables) {
        for (const record of readLogsOf(stack.directory, table, name))
          byIndex.set(record.updateIndex, record);
      }
      const records: (LogRecord & { readonly entry: LogEntry })[] = [];
      for (const { entry, ...about } of [...byIndex.values()].sort((a, b) => a.updateIndex - b.updateIndex)) {
        if (entry !== undefined) records.push({ ...about, entry });
      }
      return records;
    } catch (error) {
      // Compacted since the list was read.
      if (!(error instanceof GitwharfError && isAbsent(error.cause)) || attempt === ATTEMPTS) throw error;
      stack.refresh();
    }
  }
}

export function toReflog(
  records: readonly { readonly entry: LogEntry }[],
  format: ObjectFormat,
): readonly ReflogEntry[] {
  const none = nullObjectId(format);
  return records
    .filter(({ entry }) => entry.oldOid !== none || entry.newOid !== none)
    .map(({ entry }) => ({
      oldOid: entry.oldOid,
      newOid: entry.newOid,
      committer: showText(formatCommitter(entry, entry.zone)),
      message: showText(entry.message),
    }));
}
