/**
 * The `multi-pack-index` of one `objects/pack` directory. It only speeds things up: one that cannot be read is one
 * that does not exist. Incremental ones (`multi-pack-index.d`) are not read.
 */
import { isGitwharfError } from "../../base/errors.js";
import type { ObjectFormat } from "../../object/object-format.js";
import { MultiPackIndex } from "../../pack/multi-pack-index.js";
import { isAbsent } from "./file-errors.js";
import { type FileStamp, readStamp, sameStamp } from "./file-stamp.js";
import { readShared } from "./pack-file.js";

export const MULTI_PACK_INDEX = "multi-pack-index";
/** A directory: layers of an incremental one. */
export const LAYERED_MULTI_PACK_INDEX = `${MULTI_PACK_INDEX}.d`;

export class MultiPackIndexFile {
  readonly path: string;
  readonly #objectFormat: ObjectFormat;
  #stamp: FileStamp | undefined;
  #current: MultiPackIndex | undefined;
  #broken: string | undefined;

  constructor(path: string, objectFormat: ObjectFormat) {
    this.path = path;
    this.#objectFormat = objectFormat;
  }

  /** Another object whenever it changes. */
  get current(): MultiPackIndex | undefined {
    return this.#current;
  }

  /** Why there is none although the file is there. */
  get broken(): string | undefined {
    return this.#broken;
  }

  /** The file has gone. */
  forget(): void {
    this.#stamp = undefined;
    this.#current = undefined;
    this.#broken = undefined;
  }

  /** @throws storage/io when the file cannot be looked at */
  async refresh(): Promise<void> {
    const stamp = await readStamp(this.path);
    // It is replaced by renaming, never changed: the inode tells, and no grain of time matters.
    if (stamp === undefined) this.forget();
    else if (!sameStamp(stamp, this.#stamp)) await this.#load(stamp);
  }

  async #load(stamp: FileStamp): Promise<void> {
    this.#current = undefined;
    this.#broken = undefined;
    try {
      this.#current = await MultiPackIndex.parseInTurns(await readShared(this.path), this.#objectFormat);
    } catch (cause) {
      if (isAbsent(cause)) {
        this.forget();
        return;
      }
      this.#broken = isGitwharfError(cause) ? cause.message : "it could not be read";
    }
    this.#stamp = stamp;
  }
}
