/** Which object store the commands for history, forks and the like mean, and their common options. */
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { type Command, InvalidArgumentError, Option } from "commander";
import { GitwharfError } from "../base/errors.js";
import type { ObjectStorage } from "../server/object-storage.js";
import type { PointInTime } from "../storage/contracts/past-name.js";
import { type DatabaseFlags, withDatabaseOptions } from "./access-database.js";
import { auditedChange, type AuditFlags, type Change, withAuditOption } from "./audited-change.js";
import {
  type LocatedStorage,
  locateStorage,
  parseTime,
  type StorageFlags,
  STORAGES,
} from "./serve-storage.js";

export interface ObjectStorageFlags extends StorageFlags, DatabaseFlags {}

/** @param options.alsoDisk the command knows plain directories, too */
export function withStorageOptions(
  command: Command,
  { alsoDisk = false }: { readonly alsoDisk?: boolean } = {},
): Command {
  return withDatabaseOptions(command)
    .addOption(
      new Option(
        "--storage <kind>",
        "where the repositories are, as for serve  [default: object-store]",
      ).choices(STORAGES.filter((name) => alsoDisk || name !== "disk")),
    )
    .option("--bucket <location>", "s3://NAME/PREFIX, or a directory  [default: bucket in the directory]")
    .option("--s3-endpoint <url>", "of a store that is not AWS  [default: AWS_ENDPOINT_URL_S3]");
}

/** Of commands that change something. */
export function withChangingStorageOptions(
  command: Command,
  options: { readonly alsoDisk?: boolean } = {},
): Command {
  return withAuditOption(withStorageOptions(command, options));
}

/**
 * @param options.makes the command may begin a store: in a wrong directory, the others are not to make one
 * @throws server/bad-configuration, database/unavailable, storage/io
 */
export async function withObjectStorage<Result>(
  flags: ObjectStorageFlags,
  use: (store: ObjectStorage) => Promise<Result>,
  options: { readonly makes?: boolean } = {},
): Promise<Result> {
  const located = await locateObjectStorage(flags);
  if (options.makes !== true) mustExist(located.database);
  const { openObjectStorage } = await import("../server/object-storage.js");
  const { closeWorkerPool } = await import("../base/worker-pool.js");
  // Cleaning up, and writing witnesses, is the servers' work.
  const store = await openObjectStorage({ ...located.options, janitor: false, witnesses: false });
  try {
    return await use(store);
  } finally {
    await store.close();
    await closeWorkerPool();
  }
}

/** @throws server/bad-configuration */
export async function locateObjectStorage(flags: ObjectStorageFlags): Promise<LocatedStorage> {
  const { database } = flags;
  const located = await locateStorage({ ...flags, storage: flags.storage ?? "object-store" }, undefined, {
    directory: resolve(flags.directory),
    ...(database === undefined ? {} : { database }),
  });
  if (located === undefined)
    throw new GitwharfError("base/invariant", "commands do not look into plain directories");
  return located;
}

function mustExist(database: string): void {
  const path = database.startsWith("sqlite:") ? database.slice("sqlite:".length) : undefined;
  if (path === undefined || existsSync(path)) return;
  throw new GitwharfError(
    "database/unavailable",
    `there is no object store here, for there is no database ${path}; --directory, --database and --bucket name another, as for serve`,
  );
}

/** Opens the store and changes something; the audit log knows. */
export function changeStored<Result>(
  flags: ObjectStorageFlags & AuditFlags,
  entry: Change<Result>["entry"],
  make: (store: ObjectStorage) => Promise<Result>,
  options: { readonly makes?: boolean } = {},
): Promise<Result> {
  return auditedChange(flags, { entry, make: () => withObjectStorage(flags, make, options) });
}

export interface PointFlags {
  readonly generation?: number;
  readonly time?: number;
}

export function withPointOptions(command: Command): Command {
  return command
    .option("--generation <number>", "as of this generation (gitwharf history)", parseWhole)
    .option("--time <time>", "as it was then: 2026-11-22T10:00:00Z, or any ISO date", parseTime);
}

/** @throws server/bad-configuration for both */
export function pointOf({ generation, time }: PointFlags): PointInTime | undefined {
  if (generation !== undefined && time !== undefined)
    throw new GitwharfError("server/bad-configuration", "--generation and --time exclude each other");
  if (generation !== undefined) return { generation };
  return time === undefined ? undefined : { timeMs: time };
}

export function parseWhole(text: string): number {
  if (!/^[0-9]{1,15}$/.test(text)) throw new InvalidArgumentError("it is a whole number from 0 up");
  return Number(text);
}

/** Lines on the terminal that are written over, and nothing where there is none. */
export function progressOf(what: string): ((done: number, total: number) => void) | undefined {
  if (!process.stderr.isTTY) return undefined;
  return (done, total) => {
    const percent = Math.floor((done / total) * 100);
    process.stderr.write(`\r${what}: ${percent}% (${done}/${total})${done === total ? ", done.\n" : ""}`);
  };
}

/** Fires when the process is told to stop. @default what is half done is taken back */
export function stopSignal(message = "stopped: nothing was left half done"): AbortSignal {
  const controller = new AbortController();
  const stop = (): void => controller.abort(new GitwharfError("base/aborted", message));
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, stop);
  return controller.signal;
}
