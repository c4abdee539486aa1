/**
 * What one transaction changes in packed-refs, under its lock. The new file is written beside it and synced, then
 * renamed onto it; the lock is held until everything is done, so that nobody packs a ref that is being deleted.
 */
import * as fs from "node:fs";
import { dirname } from "node:path";
import { ioError } from "../file-errors.js";
import type { SharedRepository } from "../shared-mode.js";
import type { FilesRefs } from "./files-refs.js";
import { LockFile, type LockFailure, tryLock, writeWhole } from "./lock-file.js";
import { changePackedRefs, type PackedChange, type PackedRefs } from "./packed-refs.js";
import { syncDirectories } from "./ref-directories.js";

export class PackedRefsChange {
  readonly #refs: FilesRefs;
  readonly #shared: SharedRepository;
  #changes = new Map<string, PackedChange | null>();
  #lock: LockFile | undefined;
  #written: { readonly path: string; readonly content: PackedRefs } | undefined;

  constructor(refs: FilesRefs, shared: SharedRepository) {
    this.#refs = refs;
    this.#shared = shared;
  }

  /** @returns why it cannot be locked. @throws storage/io */
  async lock(): Promise<LockFailure | undefined> {
    const lock = await tryLock(realPath(this.#refs.packed.path), {
      timeoutMs: this.#refs.packedRefsTimeoutMs,
      shared: this.#shared,
    });
    if (!(lock instanceof LockFile)) return lock;
    this.#lock = lock;
    return undefined;
  }

  /** `null` removes. */
  set(name: string, change: PackedChange | null): void {
    this.#changes.set(name, change);
  }

  /** Writes and syncs the new file. Does nothing when nothing changes. @throws storage/io */
  async write(): Promise<void> {
    if (this.#changes.size === 0 || this.#lock === undefined) return;
    const content = changePackedRefs(this.#refs.packed.current, this.#changes);
    this.#changes = new Map();
    // A file of that name is left from a process that died: whoever holds the lock may write over it.
    const path = `${this.#lock.path}.new`;
    this.#written = { path, content };
    await writeWhole(path, content.bytes, { sync: this.#refs.sync, shared: this.#shared });
  }

  /** Puts the new file in place, durably: the old one is never seen again. @throws storage/io */
  async commit(): Promise<void> {
    const written = this.#written;
    if (written === undefined || this.#lock === undefined) return;
    try {
      fs.renameSync(written.path, this.#lock.path);
    } catch (error) {
      throw ioError("renaming", written.path, error);
    }
    this.#written = undefined;
    this.#refs.packed.adopt(written.content);
    if (this.#refs.sync) await syncDirectories([dirname(this.#lock.path)]);
  }

  /** Never throws. */
  release(): void {
    try {
      if (this.#written !== undefined) fs.unlinkSync(this.#written.path);
    } catch {
      // It is written over by the next one.
    }
    this.#lock?.release();
  }
}

/** Where a symbolic link leads, as git writes through it. */
function realPath(path: string): string {
  try {
    return fs.realpathSync(path);
  } catch {
    return path;
  }
}
