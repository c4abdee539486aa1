/**
 * The stack of tables in one `reftable/` directory: `tables.list` names them, oldest first, one a line.
 * Specification: technical/reftable, "Layout" and "Readers".
 */
import * as fs from "node:fs";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { GitwharfError } from "../../../../base/errors.js";
import type { ObjectFormat } from "../../../../object/object-format.js";
import { ioError, isAbsent } from "../../file-errors.js";
import { type FileStamp, readStampSync, sameStamp } from "../../file-stamp.js";
import type { SharedRepository } from "../../shared-mode.js";
import { type LockFailure, type LockFile, tryLock, writeWhole } from "../lock-file.js";
import { syncDirectories } from "../ref-directories.js";
import { stampGrainMs } from "../stamp-grain.js";
import { openReftableFile, type ReftableFile } from "./reftable-file.js";

/** Others may compact while we open what they had: then the list is read again. */
const OPEN_ATTEMPTS = 20;
/** Of a table that is not one yet. */
const STAGED_SUFFIX = ".new";
/** No compaction takes a day. */
const STAGED_AGE_MS_MAX = 24 * 60 * 60 * 1000;
const LIST_BYTES_MAX = 16 * 1024 * 1024;
/** Names of tables: nothing that leads elsewhere. */
const TABLE_NAME = /^[A-Za-z0-9_-][A-Za-z0-9._-]*\.(?:ref|log)$/;

export class ReftableStack {
  readonly directory: string;
  readonly listPath: string;
  readonly #format: ObjectFormat;
  readonly #grainMs: number;
  #tables: readonly ReftableFile[] = [];
  #stamp: FileStamp | undefined;
  #young = true;

  /** @param gitDirectory that has, or is to have, a `reftable/` */
  constructor(gitDirectory: string, format: ObjectFormat) {
    this.directory = join(gitDirectory, "reftable");
    this.listPath = join(this.directory, "tables.list");
    this.#format = format;
    this.#grainMs = stampGrainMs(gitDirectory);
  }

  /** Oldest first, as of the last look. */
  get tables(): readonly ReftableFile[] {
    return this.#tables;
  }

  get nextUpdateIndex(): number {
    return (this.#tables.at(-1)?.layout.maxUpdateIndex ?? 0) + 1;
  }

  /** Tables that stay in the stack stay the same objects. @throws storage/io, storage/bad-ref */
  refresh(): void {
    for (let attempt = 1; ; attempt++) {
      const readAtMs = Date.now();
      const stamp = readStampSync(this.listPath);
      if (!this.#young && sameStamp(stamp, this.#stamp)) return;
      const names = this.readList();
      const known = new Map(this.#tables.map((table) => [table.name, table]));
      try {
        this.#tables = names.map(
          (name) => known.get(name) ?? openReftableFile(this.directory, name, this.#format),
        );
        this.#stamp = stamp;
        this.#young =
          stamp !== undefined && readAtMs - Math.max(stamp.modifiedMs, stamp.changedMs) < this.#grainMs;
        return;
      } catch (error) {
        const gone = error instanceof GitwharfError && isAbsent(error.cause);
        if (!gone || attempt === OPEN_ATTEMPTS) throw error;
        this.#young = true;
      }
    }
  }

  /** @throws storage/io, storage/bad-ref */
  readList(): readonly string[] {
    let text: string;
    try {
      if (fs.statSync(this.listPath).size > LIST_BYTES_MAX)
        throw new GitwharfError("storage/bad-ref", `${this.listPath} is too large`);
      text = fs.readFileSync(this.listPath, "utf8");
    } catch (error) {
      if (isAbsent(error)) return [];
      throw ioError("reading", this.listPath, error);
    }
    const names = text.split("\n").filter((line) => line !== "");
    const odd = names.find((name) => !TABLE_NAME.test(name));
    if (odd !== undefined)
      throw new GitwharfError(
        "storage/bad-ref",
        `${this.listPath} names '${odd.slice(0, 80)}', which is no table`,
      );
    return names;
  }

  lockList(options: {
    readonly timeoutMs: number;
    readonly shared: SharedRepository;
  }): Promise<LockFile | LockFailure> {
    return tryLock(this.listPath, options);
  }

  /**
   * Makes a table file, durably; nobody sees it until the list names it. Only for who holds the lock of the list: git
   * removes tables that the list does not name. @returns its name. @throws storage/io
   */
  async writeTable(
    bytes: Buffer,
    range: readonly [min: number, max: number],
    options: WriteOptions,
  ): Promise<string> {
    const staged = await this.stageTable(bytes, range, options);
    try {
      return this.publishTable(staged);
    } catch (error) {
      this.removeTable(staged);
      throw error;
    }
  }

  /** As `writeTable`, for who does not hold the lock yet: `publishTable` makes it a table. @throws storage/io */
  async stageTable(
    bytes: Buffer,
    range: readonly [min: number, max: number],
    options: WriteOptions,
  ): Promise<string> {
    const [min, max] = range.map((index) => index.toString(16).padStart(12, "0"));
    const name = `0x${min}-0x${max}-${randomBytes(4).toString("hex")}.ref${STAGED_SUFFIX}`;
    await writeWhole(join(this.directory, name), bytes, options);
    return name;
  }

  /** @returns the name of the table. @throws storage/io */
  publishTable(staged: string): string {
    const name = staged.slice(0, -STAGED_SUFFIX.length);
    try {
      fs.renameSync(join(this.directory, staged), join(this.directory, name));
    } catch (error) {
      throw ioError("renaming", join(this.directory, staged), error);
    }
    return name;
  }

  /**
   * What writers that died left: tables that the list does not name, and old ones that never became tables. Only for
   * who holds the lock of the list, and only what is below its update index, as git does.
   */
  removeStrays(): void {
    const listed = new Set(this.#tables.map(({ name }) => name));
    const oldMs = Date.now() - STAGED_AGE_MS_MAX;
    for (const name of readNames(this.directory)) {
      const match = /^0x[0-9a-f]+-0x([0-9a-f]+)-[0-9a-f]+\.ref(\.new)?$/.exec(name);
      if (match === null || listed.has(name) || parseInt(match[1] ?? "", 16) >= this.nextUpdateIndex)
        continue;
      if (match[2] === undefined || (readStampSync(join(this.directory, name))?.modifiedMs ?? oldMs) < oldMs)
        this.removeTable(name);
    }
  }

  /** Puts a new list in place of the old one and so ends the lock. @throws storage/io */
  async commitList(lock: LockFile, names: readonly string[], options: WriteOptions): Promise<void> {
    await lock.commit(Buffer.from(names.map((name) => `${name}\n`).join("")), options);
    this.#young = true;
    if (options.sync) await syncDirectories([this.directory]);
  }

  /** Readers that still have the old list may be opening it: they read the list again. */
  removeTable(name: string): void {
    try {
      fs.unlinkSync(join(this.directory, name));
    } catch {
      // Another process removed it, or will: the list does not name it.
    }
  }
}

export interface WriteOptions {
  readonly sync: boolean;
  readonly shared: SharedRepository;
}

function readNames(directory: string): readonly string[] {
  try {
    return fs.readdirSync(directory);
  } catch (error) {
    throw ioError("listing", directory, error);
  }
}
