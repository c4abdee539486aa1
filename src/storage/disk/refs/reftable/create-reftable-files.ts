/**
 * The files of a new repository that keeps its refs in reftables, as `git init --ref-format=reftable` makes them.
 * Specification: technical/reftable, "Backward compatibility".
 *
 * `HEAD` and `refs/heads` only tell older programs that this is a repository, and keep them from making refs there.
 */
import { mkdir, writeFile } from "node:fs/promises";
import type { ObjectFormat } from "../../../../object/object-format.js";
import { syncDirectories } from "../ref-directories.js";
import { takeLock } from "../lock-file.js";
import { ReftableStack } from "./reftable-stack.js";
import { formatTable } from "./table-writer.js";

export interface CreateReftableFilesOptions {
  readonly objectFormat: ObjectFormat;
  readonly defaultBranch: string;
  readonly sync: boolean;
}

export async function createReftableFiles(
  gitDirectory: string,
  options: CreateReftableFilesOptions,
): Promise<void> {
  const { objectFormat, sync } = options;
  await mkdir(`${gitDirectory}/refs`, { recursive: true });
  await mkdir(`${gitDirectory}/reftable`, { recursive: true });
  await writeFile(`${gitDirectory}/HEAD`, "ref: refs/heads/.invalid\n");
  await writeFile(`${gitDirectory}/refs/heads`, "this repository uses the reftable format\n");
  const value = { kind: "symbolic", target: `refs/heads/${options.defaultBranch}` } as const;
  const refs = [{ name: "HEAD", updateIndex: 1, value }];
  const stack = new ReftableStack(gitDirectory, objectFormat);
  const bytes = formatTable({ objectFormat, minUpdateIndex: 1, maxUpdateIndex: 1, refs, logs: [] });
  const name = await stack.writeTable(bytes, [1, 1], { sync, shared: "umask" });
  const lock = await takeLock(stack.listPath, { timeoutMs: 0 });
  try {
    await stack.commitList(lock, [name], { sync, shared: "umask" });
  } finally {
    lock.release();
  }
  if (sync) await syncDirectories([gitDirectory]);
}
