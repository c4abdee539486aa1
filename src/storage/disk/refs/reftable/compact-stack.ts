/**
 * Keeping a stack short: tables that are not much larger than the next ones are merged with them.
 * Specification: technical/reftable, "Compaction".
 *
 *     lock tables.list; lock the tables; release tables.list     others may add tables meanwhile
 *     merge and write
 *     lock tables.list; replace the tables in it; remove them
 *
 * It is work for later: whoever holds a lock does it instead, and failing does no harm.
 */
import type { ObjectFormat } from "../../../../object/object-format.js";
import { LockFile, tryLock } from "../lock-file.js";
import { takeTurns } from "../name-locks.js";
import { chooseCompaction, mergeLogs, mergeRefs } from "./merge-tables.js";
import { type ReftableFile, readLogs } from "./reftable-file.js";
import type { ReftableStack, WriteOptions } from "./reftable-stack.js";
import { headerLength } from "./table-header.js";
import { formatTable } from "./table-writer.js";

export interface CompactOptions extends WriteOptions {
  readonly objectFormat: ObjectFormat;
  readonly lockTimeoutMs: number;
}

export function needsCompaction(tables: readonly ReftableFile[], format: ObjectFormat): boolean {
  const [start, end] = chooseTables(tables, format);
  return end > start;
}

function chooseTables(tables: readonly ReftableFile[], format: ObjectFormat): readonly [number, number] {
  const overhead = headerLength(format) - 1;
  return chooseCompaction(tables.map(({ sizeBytes }) => sizeBytes - overhead));
}

/** @returns whether tables were replaced: then what the stack says is still the same. @throws storage/io, storage/bad-ref */
export async function compactStack(stack: ReftableStack, options: CompactOptions): Promise<boolean> {
  const locks: LockFile[] = [];
  try {
    const tables = await lockTables(stack, options, locks);
    if (tables === undefined) return false;
    // Let others have their turn before the merging.
    await new Promise((resolve) => setImmediate(resolve));
    const replacement = await writeMerged(stack, tables, options);
    return await replaceTables(stack, tables.files, replacement, options);
  } finally {
    for (const lock of locks) lock.release();
  }
}

interface LockedTables {
  readonly files: readonly ReftableFile[];
  readonly isBase: boolean;
}

async function lockTables(
  stack: ReftableStack,
  options: CompactOptions,
  locks: LockFile[],
): Promise<LockedTables | undefined> {
  const giveBack = await takeTurns([stack.listPath]);
  let lock: LockFile | undefined;
  try {
    lock = await lockList(stack, options);
    if (lock === undefined) return undefined;
    stack.refresh();
    stack.removeStrays();
    const [first, end] = chooseTables(stack.tables, options.objectFormat);
    let start = first;
    const { tables } = stack;
    // From the newest: another process may be busy with the older ones.
    for (let i = end - 1; i >= start; i--) {
      const table = await tryLock(`${stack.directory}/${tables[i]?.name}`, {
        timeoutMs: 0,
        shared: options.shared,
      });
      if (!(table instanceof LockFile)) {
        start = i + 1;
        break;
      }
      table.closeDescriptor();
      locks.push(table);
    }
    return end - start < 2 ? undefined : { files: tables.slice(start, end), isBase: start === 0 };
  } finally {
    lock?.release();
    giveBack();
  }
}

/** @returns what `publishTable` takes; undefined when nothing is left to write */
async function writeMerged(
  stack: ReftableStack,
  { files, isBase }: LockedTables,
  options: CompactOptions,
): Promise<string | undefined> {
  const merge = { dropDeletions: isBase };
  const refs = mergeRefs(
    files.map((file) => file.refs),
    merge,
  );
  const logs = mergeLogs(
    files.map((file) => readLogs(stack.directory, file)),
    merge,
  );
  if (refs.length === 0 && logs.length === 0) return undefined;
  const range = [files[0]?.layout.minUpdateIndex ?? 0, files.at(-1)?.layout.maxUpdateIndex ?? 0] as const;
  const bytes = formatTable({
    objectFormat: options.objectFormat,
    minUpdateIndex: range[0],
    maxUpdateIndex: range[1],
    refs,
    logs,
  });
  return stack.stageTable(bytes, range, options);
}

async function replaceTables(
  stack: ReftableStack,
  files: readonly ReftableFile[],
  staged: string | undefined,
  options: CompactOptions,
): Promise<boolean> {
  const giveBack = await takeTurns([stack.listPath]);
  let lock: LockFile | undefined;
  let written = staged;
  try {
    lock = await lockList(stack, options);
    if (lock === undefined) return false;
    const names = stack.readList();
    const at = names.indexOf(files[0]?.name ?? "");
    // We hold their locks, so they are all there, unless somebody did not keep to the protocol.
    if (at < 0 || files.some(({ name }, i) => names[at + i] !== name)) return false;
    const rest = names.slice(at + files.length);
    const merged: string[] = [];
    if (staged !== undefined) merged.push((written = stack.publishTable(staged)));
    const after = [...names.slice(0, at), ...merged, ...rest];
    await stack.commitList(lock, after, options);
    for (const { name } of files) stack.removeTable(name);
    return true;
  } finally {
    // Committing may fail with the list already in place.
    if (written !== undefined && !stack.readList().includes(written)) stack.removeTable(written);
    lock?.release();
    giveBack();
  }
}

async function lockList(stack: ReftableStack, options: CompactOptions): Promise<LockFile | undefined> {
  const lock = await stack.lockList({ timeoutMs: options.lockTimeoutMs, shared: options.shared });
  return lock instanceof LockFile ? lock : undefined;
}
