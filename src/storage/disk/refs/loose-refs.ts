/**
 * All loose refs, kept in memory and looked at again cheaply: a ref changes by a rename into its directory, which
 * changes the directory's stamp. So one `stat` a directory tells that nothing changed, and in a directory that did
 * change one `lstat` a file tells which files are to be read again.
 *
 * Stamps that were young when they were read are not trusted (stamp-grain.ts). Tools that write a ref's file in
 * place, against git's protocol, leave the directory as it was; their changes are found by looking at some files
 * every second.
 */
import * as fs from "node:fs";
import { checkRefName } from "../../../object/ref-name.js";
import type { ObjectFormat } from "../../../object/object-format.js";
import { BROKEN, type RefValue, sameRefValue } from "../../refs/ref-state.js";
import { ioError, isAbsent } from "../file-errors.js";
import { type FileStamp, readStampSync, sameStamp, stampOf } from "../file-stamp.js";
import { readLooseRef } from "./loose-ref.js";
import { pathOfRef, type RefPaths, WORKTREE_DIRECTORIES } from "./ref-paths.js";
import { stampGrainMs } from "./stamp-grain.js";

interface LooseFile {
  readonly stamp: FileStamp;
  readonly young: boolean;
  readonly value: RefValue;
}

interface LooseDirectory {
  stamp: FileStamp | undefined;
  young: boolean;
  /** By the full name of the ref. */
  files: Map<string, LooseFile>;
  /** Full names. */
  directories: readonly string[];
  /** Refs that a process was changing when the directory was listed. */
  locks: ReadonlySet<string>;
}

/** Work without letting others have their turn. */
const SLICE_MS = 4;
/** Names are at most 4096 bytes long; deeper than this is no ref. */
const DEPTH_MAX = 256;
const NO_STAMP: FileStamp = {
  device: 0,
  inode: 0,
  bornMs: 0,
  modifiedMs: 0,
  changedMs: 0,
  sizeBytes: 0,
  isDirectory: false,
};
const IN_PLACE_CHECK_MS = 1000;
const IN_PLACE_FILES = 256;

export class LooseRefs {
  readonly #paths: RefPaths;
  readonly #format: ObjectFormat;
  readonly #grainMs: number;
  readonly #directories = new Map<string, LooseDirectory>();
  #changed = new Set<string>();
  #sliceEndsAt = 0;
  #inPlaceCheckedAt = 0;
  #inPlaceCursor: Iterator<string> | undefined;

  constructor(paths: RefPaths, format: ObjectFormat) {
    this.#paths = paths;
    this.#format = format;
    this.#grainMs = stampGrainMs(paths.commonDirectory);
  }

  /** As of the last `refresh`. */
  get(name: string): RefValue | undefined {
    return this.#directories.get(parentOf(name))?.files.get(name)?.value;
  }

  /** Whether a process held the lock of a ref when its directory was last listed. */
  isLocked(name: string): boolean {
    return this.#directories.get(parentOf(name))?.locks.has(name) === true;
  }

  *entries(): Iterable<readonly [string, RefValue]> {
    for (const directory of this.#directories.values()) {
      for (const [name, file] of directory.files) yield [name, file.value];
    }
  }

  /**
   * One caller at a time.
   * @param again list these directories whatever their stamps say
   * @returns the names of refs that have another value than before
   * @throws storage/io
   */
  async refresh(again: ReadonlySet<string> = new Set()): Promise<ReadonlySet<string>> {
    this.#changed = new Set();
    this.#sliceEndsAt = performance.now() + SLICE_MS;
    const waiting = ["refs"];
    for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
      await this.#look(name, again.has(name));
      for (const inner of this.#directories.get(name)?.directories ?? []) waiting.push(inner);
    }
    if (performance.now() - this.#inPlaceCheckedAt > IN_PLACE_CHECK_MS) this.#checkInPlace();
    return this.#changed;
  }

  async #look(name: string, again: boolean): Promise<void> {
    if (this.#sliceIsOver()) await this.#yield();
    const path = pathOfRef(this.#paths, name);
    const readAtMs = Date.now();
    const stamp = readStampSync(path);
    const known = this.#directories.get(name);
    if (stamp?.isDirectory !== true) {
      if (known !== undefined) this.#forgetDirectory(name);
      return;
    }
    if (known !== undefined && !again && !known.young && sameStamp(stamp, known.stamp)) return;
    const directory = known ?? {
      stamp,
      young: true,
      files: new Map(),
      directories: [],
      locks: new Set<string>(),
    };
    this.#directories.set(name, directory);
    await this.#list(name, path, directory);
    directory.stamp = stamp;
    directory.young = this.#isYoung(stamp, readAtMs);
  }

  async #list(name: string, path: string, directory: LooseDirectory): Promise<void> {
    const files = new Map<string, LooseFile>();
    const directories: string[] = [];
    const locks = new Set<string>();
    for (const entry of listDirectory(path)) {
      const full = `${name}/${entry.name}`;
      if (entry.name.startsWith(".")) continue;
      // Bytes that are no UTF-8: the file cannot be asked for by this name.
      if (entry.name.includes("\ufffd")) files.set(full, this.#breakName(full, directory.files.get(full)));
      else if (entry.name.endsWith(".lock")) locks.add(full.slice(0, -".lock".length));
      else if (entry.isDirectory()) directories.push(full);
      else {
        const file = this.#readFile(full, `${path}/${entry.name}`, directory.files.get(full));
        if (file !== undefined) files.set(full, file);
        if (this.#sliceIsOver()) await this.#yield();
      }
    }
    if (name === "refs" && this.#paths.linked) {
      for (const own of WORKTREE_DIRECTORIES)
        if (!directories.includes(`refs/${own}`)) directories.push(`refs/${own}`);
    }
    for (const [full, file] of directory.files) if (!files.has(full)) this.#note(full, file.value, undefined);
    directory.files = files;
    directory.locks = locks;
    const kept = new Set(directories);
    for (const gone of directory.directories) if (!kept.has(gone)) this.#forgetDirectory(gone);
    directory.directories = name.split("/").length > DEPTH_MAX ? [] : directories;
  }

  #readFile(name: string, path: string, known: LooseFile | undefined): LooseFile | undefined {
    const readAtMs = Date.now();
    const stamp = lstampAt(path);
    if (stamp === undefined) return undefined;
    if (known !== undefined && !known.young && sameStamp(stamp, known.stamp)) return known;
    const value = this.#read(name, path);
    if (value === undefined || value === "directory") return undefined;
    this.#note(name, known?.value, value);
    return { stamp, young: this.#isYoung(stamp, readAtMs), value };
  }

  #read(name: string, path: string): RefValue | "directory" | undefined {
    // A name that git would not make: it is there, but nobody can ask for it.
    return checkRefName(name) === undefined ? readLooseRef(path, name, this.#format) : BROKEN;
  }

  #breakName(name: string, known: LooseFile | undefined): LooseFile {
    this.#note(name, known?.value, BROKEN);
    return known ?? { stamp: NO_STAMP, young: false, value: BROKEN };
  }

  #checkInPlace(): void {
    this.#inPlaceCheckedAt = performance.now();
    for (let looked = 0; looked < IN_PLACE_FILES; looked++) {
      this.#inPlaceCursor ??= this.#names();
      const next = this.#inPlaceCursor.next();
      if (next.done === true) {
        this.#inPlaceCursor = undefined;
        return;
      }
      const files = this.#directories.get(parentOf(next.value))?.files;
      const known = files?.get(next.value);
      if (files === undefined || known === undefined) continue;
      const file = this.#readFile(next.value, pathOfRef(this.#paths, next.value), known);
      if (file !== undefined) files.set(next.value, file);
    }
  }

  *#names(): Iterator<string> {
    for (const [name] of this.entries()) yield name;
  }

  #forgetDirectory(name: string): void {
    const directory = this.#directories.get(name);
    if (directory === undefined) return;
    this.#directories.delete(name);
    for (const [full, file] of directory.files) this.#note(full, file.value, undefined);
    for (const below of directory.directories) this.#forgetDirectory(below);
  }

  #note(name: string, before: RefValue | undefined, after: RefValue | undefined): void {
    if (!sameRefValue(before, after)) this.#changed.add(name);
  }

  #isYoung(stamp: FileStamp, readAtMs: number): boolean {
    return readAtMs - Math.max(stamp.modifiedMs, stamp.changedMs) < this.#grainMs;
  }

  #sliceIsOver(): boolean {
    return performance.now() >= this.#sliceEndsAt;
  }

  async #yield(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    this.#sliceEndsAt = performance.now() + SLICE_MS;
  }
}

export function parentOf(name: string): string {
  return name.slice(0, name.lastIndexOf("/"));
}

function listDirectory(path: string): readonly fs.Dirent[] {
  try {
    return fs.readdirSync(path, { withFileTypes: true });
  } catch (error) {
    if (isAbsent(error)) return [];
    throw ioError("listing", path, error);
  }
}

function lstampAt(path: string): FileStamp | undefined {
  try {
    const stats = fs.lstatSync(path, { throwIfNoEntry: false });
    return stats === undefined ? undefined : stampOf(stats);
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw ioError("looking at", path, error);
  }
}
