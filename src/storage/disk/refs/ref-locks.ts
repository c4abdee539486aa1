/** The lock files of one transaction's refs. Each is closed as soon as it is made: there may be thousands. */
import { join } from "node:path";
import { lockedRef, nameConflict, type Refusal } from "../../refs/ref-refusal.js";
import { conflictWith } from "../../refs/update-checks.js";
import { type FilesRefs, readLooseNow } from "./files-refs.js";
import { LockFile, type LockOptions, tryLock } from "./lock-file.js";
import { removeEmptyParents } from "./ref-directories.js";
import { baseOf, pathOfRef, pathOfReflog } from "./ref-paths.js";

export class RefLocks {
  readonly #refs: FilesRefs;
  readonly #options: LockOptions;
  readonly #locks = new Map<string, LockFile>();

  constructor(refs: FilesRefs, options: Omit<LockOptions, "timeoutMs">) {
    this.#refs = refs;
    this.#options = { ...options, timeoutMs: refs.refLockTimeoutMs };
  }

  get names(): Iterable<string> {
    return this.#locks.keys();
  }

  get(name: string): LockFile | undefined {
    return this.#locks.get(name);
  }

  /** @returns why it cannot be locked. @throws storage/io */
  async take(name: string): Promise<Refusal | undefined> {
    const lock = await tryLock(pathOfRef(this.#refs.paths, name), this.#options);
    if (lock instanceof LockFile) {
      lock.closeDescriptor();
      this.#locks.set(name, lock);
      return undefined;
    }
    switch (lock.kind) {
      case "locked":
        return lockedRef(name, `${name}.lock`, lock.heldSeconds);
      case "blocked":
        return this.#blockedBy(name);
      case "name-too-long":
        return { code: "rejected", reason: `cannot lock ref '${name}': File name too long` };
    }
  }

  /** Does nothing for a ref whose lock became its file. */
  release(name: string): void {
    if (this.#locks.get(name)?.release() === true) removeRefDirectories(this.#refs, name);
    this.#locks.delete(name);
  }

  releaseAll(): void {
    for (const name of this.#locks.keys()) this.release(name);
  }

  #blockedBy(name: string): Refusal {
    for (let slash = name.indexOf("/", 5); slash > 0; slash = name.indexOf("/", slash + 1)) {
      const above = name.slice(0, slash);
      if (readLooseNow(this.#refs, above) !== undefined) return conflictWith(above, name);
    }
    return nameConflict(`a file is in the way of '${name}'`);
  }
}

/** Removes the directories that a ref was the last in. `refs/heads` and its like stay, as in git. */
function removeRefDirectories({ paths }: FilesRefs, name: string): void {
  const kept = name.split("/").slice(0, 2);
  removeEmptyParents(pathOfRef(paths, name), join(baseOf(paths, name), ...kept));
}

export function removeLogDirectories({ paths }: FilesRefs, name: string): void {
  const kept = name.split("/").slice(0, 2);
  removeEmptyParents(pathOfReflog(paths, name), join(baseOf(paths, name), "logs", ...kept));
}
