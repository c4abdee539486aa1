/**
 * `gc.pid`: by it git's own garbage collection and ours keep out of each other's way. It says who is at work,
 * `PID HOST`, and is made under `gc.pid.lock`. One whose process has gone, or that is half a day old, does not count.
 * Specification: git-gc ("--force"), and what `git gc` does.
 */
import { unlink } from "node:fs/promises";
import { hostname } from "node:os";
import { readSmallFile } from "./cached-file.js";
import { openDescriptor } from "./descriptor.js";
import { errorCode, ioError, isAbsent } from "./file-errors.js";
import { readStamp } from "./file-stamp.js";
import { applyMode, LockFile } from "./refs/lock-file.js";
import type { SharedRepository } from "./shared-mode.js";

const STALE_MS = 12 * 60 * 60 * 1000;
const STALE_LOCK_MS = 60 * 60 * 1000;
const PID_FILE_BYTES_MAX = 4096;
/** Those that this process holds. */
const heldHere = new Set<string>();

/**
 * @param commonDirectory where the repository's `objects` stand
 * @returns the function that gives the lock back (idempotent); undefined when another one is at work
 * @throws storage/io
 */
export async function lockMaintenance(
  commonDirectory: string,
  options: { readonly shared: SharedRepository },
): Promise<(() => Promise<void>) | undefined> {
  const path = `${commonDirectory}/gc.pid`;
  if (heldHere.has(path)) return undefined;
  heldHere.add(path);
  let held = false;
  try {
    held = await take(path, options.shared);
  } finally {
    if (!held) heldHere.delete(path);
  }
  if (!held) return undefined;
  let released = false;
  return async () => {
    if (released) return;
    released = true;
    // Another one may have taken it over because it was so old.
    const text = await readPidFile(path).catch(() => undefined);
    if (text === ownText()) await unlink(path).catch(() => undefined);
    heldHere.delete(path);
  };
}

/** Who is at work, as the file says; undefined: nobody. @throws storage/io */
export async function maintenanceHolder(commonDirectory: string): Promise<string | undefined> {
  const path = `${commonDirectory}/gc.pid`;
  if (heldHere.has(path)) return ownText();
  return (await isHeldByAnother(path)) ? (await readPidFile(path))?.trim() : undefined;
}

async function take(path: string, shared: SharedRepository): Promise<boolean> {
  const lock = (await makeLock(path)) ?? ((await removeStaleLock(path)) ? await makeLock(path) : undefined);
  if (lock === undefined) return false;
  try {
    applyMode(lock.lockPath, shared);
    if (await isHeldByAnother(path)) return false;
    await lock.commit(Buffer.from(ownText()), { sync: false });
    return true;
  } finally {
    lock.release();
  }
}

/** undefined: there is one, or the repository has gone, which must not be made anew. */
async function makeLock(path: string): Promise<LockFile | undefined> {
  const lockPath = `${path}.lock`;
  try {
    return new LockFile(path, await openDescriptor(lockPath, "wx", 0o666));
  } catch (cause) {
    if (errorCode(cause) === "EEXIST" || isAbsent(cause)) return undefined;
    throw ioError("making", lockPath, cause);
  }
}

/** It stands for as long as `gc.pid` is written: one that is old was left by somebody who was killed just then. */
async function removeStaleLock(path: string): Promise<boolean> {
  const lockPath = `${path}.lock`;
  const stamp = await readStamp(lockPath);
  if (stamp === undefined || Date.now() - stamp.modifiedMs < STALE_LOCK_MS) return false;
  await unlink(lockPath).catch(() => undefined);
  return true;
}

async function isHeldByAnother(path: string): Promise<boolean> {
  const stamp = await readStamp(path);
  if (stamp === undefined || Date.now() - stamp.modifiedMs > STALE_MS) return false;
  const match = /^(\d{1,15}) ([^\n]*)\n?$/.exec((await readPidFile(path)) ?? "");
  if (match === null) return false;
  if (match[2] !== hostname()) return true;
  const pid = Number(match[1]);
  // A process that had our number before us: in a container every server may be number 1.
  return pid !== process.pid && isAlive(pid);
}

async function readPidFile(path: string): Promise<string | undefined> {
  return (await readSmallFile(path, PID_FILE_BYTES_MAX))?.toString("utf8");
}

function ownText(): string {
  return `${process.pid} ${hostname()}`;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errorCode(error) !== "ESRCH";
  }
}
