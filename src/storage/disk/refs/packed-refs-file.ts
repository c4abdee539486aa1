/** The `packed-refs` file of a repository: read when it changed, replaced under its lock. */
import * as fs from "node:fs";
import { join } from "node:path";
import { GitwharfError } from "../../../base/errors.js";
import type { ObjectFormat } from "../../../object/object-format.js";
import { ioError, isAbsent } from "../file-errors.js";
import { type FileStamp, sameStamp, stampOf } from "../file-stamp.js";
import { NO_PACKED_REFS, type PackedRefs, parsePackedRefs } from "./packed-refs.js";
import { stampGrainMs } from "./stamp-grain.js";

/** Some five million refs. */
const SIZE_BYTES_MAX = 400 * 1024 * 1024;

export class PackedRefsFile {
  readonly path: string;
  readonly #format: ObjectFormat;
  readonly #grainMs: number;
  #current: PackedRefs = NO_PACKED_REFS;
  #stamp: FileStamp | undefined;
  #young = false;

  constructor(directory: string, format: ObjectFormat) {
    this.path = join(directory, "packed-refs");
    this.#format = format;
    this.#grainMs = stampGrainMs(directory);
  }

  /** As of the last `refresh` or `adopt`. */
  get current(): PackedRefs {
    return this.#current;
  }

  /**
   * Reads the file if it may have changed. `current` stays the same object while the file says the same.
   * @throws storage/io, storage/bad-ref, storage/unsupported when it is larger than 400 MiB
   */
  refresh(): void {
    const readAtMs = Date.now();
    const stamp = this.#look();
    if (!this.#young && sameStamp(stamp, this.#stamp)) return;
    const bytes = stamp === undefined ? undefined : this.#read(stamp);
    if (this.#differs(bytes)) this.#current = this.#parse(bytes);
    this.#remember(stamp, readAtMs);
  }

  /** Takes over what was just written in place of the file, while its lock is still held. */
  adopt(written: PackedRefs): void {
    const readAtMs = Date.now();
    const stamp = this.#look();
    this.#current = written;
    this.#remember(stamp, readAtMs);
  }

  #remember(stamp: FileStamp | undefined, readAtMs: number): void {
    this.#stamp = stamp;
    this.#young =
      stamp !== undefined && readAtMs - Math.max(stamp.modifiedMs, stamp.changedMs) < this.#grainMs;
  }

  #look(): FileStamp | undefined {
    try {
      const stats = fs.statSync(this.path, { throwIfNoEntry: false });
      return stats === undefined ? undefined : stampOf(stats);
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw ioError("looking at", this.path, error);
    }
  }

  #read(stamp: FileStamp): Buffer | undefined {
    if (stamp.sizeBytes > SIZE_BYTES_MAX) {
      throw new GitwharfError(
        "storage/unsupported",
        `${this.path} is larger than the ${SIZE_BYTES_MAX} bytes that are read`,
      );
    }
    try {
      return fs.readFileSync(this.path);
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw ioError("reading", this.path, error);
    }
  }

  #differs(bytes: Buffer | undefined): boolean {
    const known = this.#current.bytes;
    return bytes === undefined ? known.length > 0 : !known.equals(bytes);
  }

  #parse(bytes: Buffer | undefined): PackedRefs {
    if (bytes === undefined) return NO_PACKED_REFS;
    try {
      return parsePackedRefs(bytes, this.#format);
    } catch (cause) {
      if (!(cause instanceof GitwharfError)) throw cause;
      throw new GitwharfError(cause.code, `${this.path}: ${cause.message}`, { cause });
    }
  }
}
