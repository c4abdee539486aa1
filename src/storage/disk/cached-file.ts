/**
 * What a small file says, read again only when it may have changed.
 */
import * as fs from "node:fs/promises";
import { GitwharfError } from "../../base/errors.js";
import { ioError, isAbsent } from "./file-errors.js";
import { type FileStamp, isRacy, readStamp, sameStamp } from "./file-stamp.js";
import { oneAtATime } from "./one-at-a-time.js";

export interface CachedFileOptions<T> {
  /** undefined: there is no such file. May throw; then nothing is kept. */
  readonly parse: (bytes: Buffer | undefined) => T | Promise<T>;
  /** A larger file is refused. */
  readonly sizeBytesMax: number;
}

export class CachedFile<T> {
  readonly path: string;
  readonly #options: CachedFileOptions<T>;
  readonly #refresh: () => Promise<void>;
  #known:
    | { readonly bytes: Buffer | undefined; readonly stamp: FileStamp | undefined; readonly value: T }
    | undefined;
  #racy = true;
  #generation = 0;

  constructor(path: string, options: CachedFileOptions<T>) {
    this.path = path;
    this.#options = options;
    this.#refresh = oneAtATime(() => this.#load());
  }

  /** Grows when the content changes. */
  get generation(): number {
    return this.#generation;
  }

  /** @throws storage/io; and what `parse` throws */
  async read(): Promise<T> {
    await this.#refresh();
    if (this.#known === undefined)
      throw new GitwharfError("base/invariant", "a file was loaded without a value");
    return this.#known.value;
  }

  async #load(): Promise<void> {
    const readAtMs = Date.now();
    const stamp = await readStamp(this.path);
    if (this.#known !== undefined && !this.#racy && sameStamp(stamp, this.#known.stamp)) return;
    const bytes =
      stamp === undefined ? undefined : await readSmallFile(this.path, this.#options.sizeBytesMax);
    const racy = isRacy(stamp, readAtMs, this.path);
    if (this.#known !== undefined && sameBytes(bytes, this.#known.bytes)) {
      this.#known = { ...this.#known, stamp };
    } else {
      this.#known = { bytes, stamp, value: await this.#options.parse(bytes) };
      this.#generation++;
    }
    this.#racy = racy;
  }
}

/** undefined when it does not exist. @throws storage/io, storage/unsupported when it is larger than `sizeBytesMax` */
export async function readSmallFile(path: string, sizeBytesMax: number): Promise<Buffer | undefined> {
  let file: fs.FileHandle;
  try {
    file = await fs.open(path, "r");
  } catch (cause) {
    if (isAbsent(cause)) return undefined;
    throw ioError("opening", path, cause);
  }
  try {
    const { size } = await file.stat();
    if (size > sizeBytesMax) {
      throw new GitwharfError(
        "storage/unsupported",
        `${path} is larger than the ${sizeBytesMax} bytes that are read`,
      );
    }
    return await file.readFile();
  } catch (cause) {
    throw ioError("reading", path, cause);
  } finally {
    await file.close();
  }
}

function sameBytes(a: Buffer | undefined, b: Buffer | undefined): boolean {
  return a === undefined || b === undefined ? a === b : a.equals(b);
}
