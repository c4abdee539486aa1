/**
 * git's lock files: whoever makes `FILE.lock` may replace FILE, by renaming the one onto the other. All programs that
 * change a repository keep to it. Specification: lockfile protocol of git (gitrepository-layout, git-update-ref).
 *
 *     takeLock ──► write ──► commit (rename)
 *         │          └─────► release (unlink)
 *         └─ "locked" / "blocked"
 *
 * Small calls are made at once (see loose-ref.ts); only waiting for the disk goes to the thread pool.
 */
import * as fs from "node:fs";
import { dirname } from "node:path";
import { GitwharfError } from "../../../base/errors.js";
import { type SharedRepository, sharedMode } from "../shared-mode.js";
import { syncDescriptor } from "../descriptor.js";
import { errorCode, ioError, isAbsent } from "../file-errors.js";

export interface LockOptions {
  /** How long to try again while another process holds it; 0 = once. */
  readonly timeoutMs: number;
  readonly shared: SharedRepository;
  /** Told of each directory that was made on the way, so that its name can be synced. */
  readonly onDirectoryMade?: (path: string) => void;
}

export type LockFailure =
  | { readonly kind: "locked"; readonly heldSeconds: number | undefined }
  /** A file is where a directory should be. */
  | { readonly kind: "blocked" }
  | { readonly kind: "name-too-long" };

/** Somebody may remove an empty directory between our making it and our using it. */
const MAKE_DIRECTORY_ATTEMPTS = 5;
const RETRY_MS_MAX = 20;

export class LockFile {
  /** The file that is locked. */
  readonly path: string;
  #fd: number | undefined;
  #held = true;
  #written = false;

  constructor(path: string, fd: number) {
    this.path = path;
    this.#fd = fd;
  }

  get lockPath(): string {
    return `${this.path}.lock`;
  }

  /** Whether there is new content to commit. */
  get written(): boolean {
    return this.#written;
  }

  /** Puts the new content into the lock file. @throws storage/io */
  async write(bytes: Buffer, options: { readonly sync: boolean }): Promise<void> {
    this.closeDescriptor();
    await writeWhole(this.lockPath, bytes, options);
    this.#written = true;
  }

  /** Gives back the descriptor; the lock stays. A transaction may hold thousands of locks. */
  closeDescriptor(): void {
    if (this.#fd !== undefined) fs.closeSync(this.#fd);
    this.#fd = undefined;
  }

  /** Writes and makes it the file. @throws storage/io; then the lock is still held */
  async commit(bytes: Buffer, options: { readonly sync: boolean }): Promise<void> {
    await this.write(bytes, options);
    this.rename();
  }

  /** Makes what was written the file. @throws storage/io; then the lock is still held */
  rename(): void {
    this.closeDescriptor();
    try {
      fs.renameSync(this.lockPath, this.path);
    } catch (error) {
      throw ioError("renaming", this.lockPath, error);
    }
    this.#held = false;
  }

  /**
   * Does nothing after `commit`. Never throws: what holds the lock is gone either way.
   * @returns whether it was held
   */
  release(): boolean {
    this.closeDescriptor();
    if (!this.#held) return false;
    this.#held = false;
    try {
      fs.unlinkSync(this.lockPath);
    } catch {
      // Somebody removed it by hand, or the disk is failing: the next one to lock will say so.
    }
    return true;
  }
}

/** Writes a file, over what was in it, and waits for the disk when asked. @throws storage/io */
export async function writeWhole(
  path: string,
  bytes: Buffer,
  options: { readonly sync: boolean; readonly shared?: SharedRepository },
): Promise<void> {
  let fd: number | undefined;
  try {
    fd = fs.openSync(path, "w", 0o666);
    if (options.shared !== undefined) applyMode(path, options.shared);
    for (let done = 0; done < bytes.length; ) done += fs.writeSync(fd, bytes, done);
    if (options.sync) await syncDescriptor(fd);
  } catch (error) {
    throw ioError("writing", path, error);
  } finally {
    if (fd !== undefined) fs.closeSync(fd);
  }
}

/** @throws storage/locked, storage/io */
export async function takeLock(
  path: string,
  options: Pick<LockOptions, "timeoutMs"> & Partial<LockOptions>,
): Promise<LockFile> {
  const lock = await tryLock(path, { shared: "umask", ...options });
  if (lock instanceof LockFile) return lock;
  if (lock.kind !== "locked")
    throw new GitwharfError("storage/io", `making ${path}.lock failed: ${lock.kind}`);
  const since = lock.heldSeconds === undefined ? "" : ` for ${lock.heldSeconds} s`;
  throw new GitwharfError(
    "storage/locked",
    `${path}.lock exists${since}: another process is changing the file; if none is running, one died and left it: remove it`,
  );
}

/** @throws storage/io */
export async function tryLock(path: string, options: LockOptions): Promise<LockFile | LockFailure> {
  const lockPath = `${path}.lock`;
  const deadline = performance.now() + options.timeoutMs;
  let waitMs = 1;
  let directoriesMade = 0;
  for (;;) {
    try {
      const fd = fs.openSync(lockPath, "wx", 0o666);
      if (options.shared !== "umask") applyMode(lockPath, options.shared);
      return new LockFile(path, fd);
    } catch (error) {
      const code = errorCode(error);
      if (code === "ENAMETOOLONG") return { kind: "name-too-long" };
      if (code === "ENOTDIR") return { kind: "blocked" };
      if (code === "ENOENT" && directoriesMade++ < MAKE_DIRECTORY_ATTEMPTS) {
        const failure = makeDirectories(dirname(path), options);
        if (failure !== undefined) return failure;
        continue;
      }
      if (code !== "EEXIST") throw ioError("creating", lockPath, error);
      if (performance.now() >= deadline) return { kind: "locked", heldSeconds: ageSeconds(lockPath) };
    }
    const left = Math.max(0, deadline - performance.now());
    await new Promise((resolve) => setTimeout(resolve, Math.min(left, waitMs * (0.75 + Math.random() / 2))));
    waitMs = Math.min(RETRY_MS_MAX, waitMs * 2);
  }
}

/** @throws storage/io */
export function makeDirectories(
  path: string,
  options: Pick<LockOptions, "shared" | "onDirectoryMade">,
): LockFailure | undefined {
  const missing: string[] = [];
  for (let at = path; ; at = dirname(at)) {
    const stats = statOrAbsent(at);
    if (stats === "blocked" || stats?.isDirectory() === false) return { kind: "blocked" };
    if (stats !== undefined) break;
    missing.push(at);
  }
  for (const at of missing.reverse()) {
    try {
      fs.mkdirSync(at);
      if (options.shared !== "umask") applyMode(at, options.shared);
      options.onDirectoryMade?.(at);
    } catch (error) {
      const code = errorCode(error);
      if (code === "ENAMETOOLONG") return { kind: "name-too-long" };
      // Another one made it, or one above it vanished: the caller tries again.
      if (code !== "EEXIST" && code !== "ENOENT") throw ioError("making", at, error);
    }
  }
  return undefined;
}

function statOrAbsent(path: string): fs.Stats | "blocked" | undefined {
  try {
    return fs.statSync(path, { throwIfNoEntry: false });
  } catch (error) {
    if (errorCode(error) === "ENOTDIR") return "blocked";
    throw ioError("looking at", path, error);
  }
}

export function applyMode(path: string, shared: SharedRepository): void {
  if (shared === "umask") return;
  try {
    const stats = fs.statSync(path);
    const mode = sharedMode(stats.mode & 0o7777, shared, stats.isDirectory());
    if (mode !== (stats.mode & 0o7777)) fs.chmodSync(path, mode);
  } catch (error) {
    if (!isAbsent(error)) throw ioError("changing the mode of", path, error);
  }
}

function ageSeconds(path: string): number | undefined {
  try {
    const stats = fs.statSync(path, { throwIfNoEntry: false });
    return stats === undefined ? undefined : Math.max(0, Math.round((Date.now() - stats.mtimeMs) / 1000));
  } catch {
    return undefined;
  }
}
