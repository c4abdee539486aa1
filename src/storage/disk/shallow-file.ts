/**
 * `shallow`: the commits whose parents the repository does not have, one id a line.
 * Specification: gitrepository-layout, technical/shallow.
 */
import { rm } from "node:fs/promises";
import type { ObjectFormat } from "../../object/object-format.js";
import { isObjectId, type ObjectId } from "../../object/object-id.js";
import { GitwharfError } from "../../base/errors.js";
import { changeShallow, type ShallowChange } from "../shallow-change.js";
import { readSmallFile } from "./cached-file.js";
import { syncDirectory } from "./descriptor.js";
import { ioError } from "./file-errors.js";
import { takeLock } from "./refs/lock-file.js";

export const SHALLOW_BYTES_MAX = 256 * 1024 * 1024;
const LOCK_TIMEOUT_MS = 2000;

/** @throws storage/bad-ref */
export function parseShallow(bytes: Buffer | undefined, format: ObjectFormat): ReadonlySet<ObjectId> {
  const oids = new Set<ObjectId>();
  for (const line of bytes?.toString("latin1").split("\n") ?? []) {
    const oid = line.trim();
    if (oid === "") continue;
    if (!isObjectId(oid, format)) {
      throw new GitwharfError(
        "storage/bad-ref",
        `the file 'shallow' has the line '${oid.slice(0, 80)}', which is no object id`,
      );
    }
    oids.add(oid);
  }
  return oids;
}

function formatShallow(oids: Iterable<ObjectId>): Buffer {
  return Buffer.from(
    [...oids]
      .sort()
      .map((oid) => `${oid}\n`)
      .join(""),
  );
}

/**
 * Under git's own lock; without a commit there is no file, as git has it. Durable when it returns.
 * @throws storage/locked, storage/io
 */
export async function changeShallowFile(
  directory: string,
  change: ShallowChange,
  options: { readonly objectFormat: ObjectFormat; readonly sync: boolean },
): Promise<void> {
  const path = `${directory}/shallow`;
  const lock = await takeLock(path, { timeoutMs: LOCK_TIMEOUT_MS });
  try {
    const present = parseShallow(await readSmallFile(path, SHALLOW_BYTES_MAX), options.objectFormat);
    const after = changeShallow(present, change);
    if (after.size === present.size && [...after].every((oid) => present.has(oid))) return;
    if (after.size > 0) await lock.commit(formatShallow(after), options);
    else await remove(path);
    if (options.sync) await syncDirectory(directory);
  } finally {
    lock.release();
  }
}

async function remove(path: string): Promise<void> {
  try {
    await rm(path, { force: true });
  } catch (cause) {
    throw ioError("removing", path, cause);
  }
}
