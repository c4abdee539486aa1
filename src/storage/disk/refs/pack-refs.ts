/**
 * Moving refs from files of their own into packed-refs, as `git pack-refs --all --prune` does, beside git and others.
 *
 *     lock packed-refs ──► look at all refs ──► write and sync the new file ──► rename, release
 *     for each ref: lock it ──► is its file what packed-refs says? ──► remove the file ──► release
 *
 * A ref whose lock another holds, or that has changed meanwhile, keeps its file, which counts. Symbolic and broken refs and those
 * of a single work tree (refs/bisect, refs/rewritten, refs/worktree) keep theirs. Specification: git-pack-refs.
 */
import * as fs from "node:fs";
import { join } from "node:path";
import { throwIfAborted } from "../../../base/errors.js";
import { isPromise } from "../../../base/maybe-promise.js";
import type { ObjectId } from "../../../object/object-id.js";
import type { PackRefsOutcome } from "../../contracts/ref-store.js";
import { errorCode, ioError, isAbsent } from "../file-errors.js";
import type { SharedRepository } from "../shared-mode.js";
import { type FilesRefs, packedValue, readLooseNow } from "./files-refs.js";
import { LockFile, tryLock } from "./lock-file.js";
import { PackedRefsChange } from "./packed-refs-change.js";
import { removeEmptyParents } from "./ref-directories.js";
import { baseOf, pathOfRef, WORKTREE_DIRECTORIES } from "./ref-paths.js";

export interface PackRefsOptions {
  readonly shared: SharedRepository;
  readonly signal?: AbortSignal | undefined;
}

/** Work without letting others have their turn. */
const SLICE_MS = 4;

/** @throws storage/io, storage/bad-ref, base/aborted */
export async function packRefs(refs: FilesRefs, options: PackRefsOptions): Promise<PackRefsOutcome> {
  const turns = new Turns(options.signal);
  const packed = new Map<string, ObjectId>();
  const change = new PackedRefsChange(refs, options.shared);
  try {
    if ((await change.lock()) !== undefined) return { kind: "left to others" };
    await refs.look();
    for (const name of [...refs.loose.entries()].map(([each]) => each)) {
      await turns.take();
      const oid = await packOne(refs, change, name);
      if (oid !== undefined) packed.set(name, oid);
    }
    if (packed.size === 0) return { kind: "nothing to do" };
    await change.write();
    throwIfAborted(options.signal);
    await change.commit();
  } finally {
    // Those who delete refs wait for it.
    change.release();
  }
  for (const [name, oid] of packed) {
    await turns.take();
    await removeFile(refs, name, oid, options.shared);
  }
  return { kind: "packed", count: packed.size };
}

/** @returns what packed-refs will say of it; undefined: it keeps its file */
async function packOne(
  refs: FilesRefs,
  change: PackedRefsChange,
  name: string,
): Promise<ObjectId | undefined> {
  if (!name.startsWith("refs/") || isOfOneWorkTree(name)) return undefined;
  const value = readLooseNow(refs, name);
  if (value?.kind !== "direct") return undefined;
  const { oid } = value.ref;
  const known = packedValue(refs, name);
  // It was packed before, and only its file is left.
  if (known?.kind === "direct" && known.ref.oid === oid) return oid;
  const peeling = refs.peel?.(oid);
  const peeled = isPromise(peeling) ? await peeling : peeling;
  change.set(name, { oid, peelKnown: refs.peel !== undefined, ...(peeled === undefined ? {} : { peeled }) });
  return oid;
}

async function removeFile(
  refs: FilesRefs,
  name: string,
  oid: ObjectId,
  shared: SharedRepository,
): Promise<void> {
  const path = pathOfRef(refs.paths, name);
  if (!isThere(path)) return;
  const lock = await tryLock(path, { timeoutMs: 0, shared });
  if (!(lock instanceof LockFile)) return;
  try {
    lock.closeDescriptor();
    const now = readLooseNow(refs, name);
    // Somebody may have deleted the ref and made it anew: then packed-refs does not have it any more.
    refs.packed.refresh();
    const packed = packedValue(refs, name);
    if (now?.kind !== "direct" || now.ref.oid !== oid) return;
    if (packed?.kind === "direct" && packed.ref.oid === oid) unlink(path);
  } finally {
    lock.release();
    // `refs/heads` and its like stay, as in git.
    removeEmptyParents(path, join(baseOf(refs.paths, name), ...name.split("/").slice(0, 2)));
  }
}

function isOfOneWorkTree(name: string): boolean {
  return WORKTREE_DIRECTORIES.some((own) => name.startsWith(`refs/${own}/`));
}

function isThere(path: string): boolean {
  return fs.statSync(path, { throwIfNoEntry: false })?.isFile() === true;
}

function unlink(path: string): void {
  try {
    fs.unlinkSync(path);
  } catch (error) {
    if (!isAbsent(error) && errorCode(error) !== "EISDIR") throw ioError("removing", path, error);
  }
}

class Turns {
  readonly #signal: AbortSignal | undefined;
  #endsAt = performance.now() + SLICE_MS;

  constructor(signal: AbortSignal | undefined) {
    this.#signal = signal;
  }

  async take(): Promise<void> {
    if (performance.now() < this.#endsAt) return;
    await new Promise((resolve) => setImmediate(resolve));
    throwIfAborted(this.#signal);
    this.#endsAt = performance.now() + SLICE_MS;
  }
}
