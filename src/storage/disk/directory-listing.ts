/**
 * The names in a directory, read again only when they may have changed. An absent directory is an empty one.
 */
import * as fs from "node:fs";
import { errorCode, ioError, isAbsent } from "./file-errors.js";
import { type FileStamp, isRacy, readStamp, sameStamp } from "./file-stamp.js";
import { oneAtATime } from "./one-at-a-time.js";

const NO_NAMES: ReadonlySet<string> = new Set();

export class DirectoryListing {
  readonly path: string;
  /** Looks whether the names are still right. Those who ask at the same time share the work. @throws storage/io */
  readonly refresh: () => Promise<void>;
  #names = NO_NAMES;
  #generation = 0;
  #validatedAt = Number.NEGATIVE_INFINITY;
  #stamp: FileStamp | undefined;
  #racy = true;

  constructor(path: string) {
    this.path = path;
    this.refresh = oneAtATime(() => this.#refresh());
  }

  get names(): ReadonlySet<string> {
    return this.#names;
  }

  /** Grows when the names change; 0 before the first refresh. */
  get generation(): number {
    return this.#generation;
  }

  /** On the clock of `performance.now()`: the names are those of this moment or a later one. */
  get validatedAt(): number {
    return this.#validatedAt;
  }

  async #refresh(): Promise<void> {
    const startedAt = performance.now();
    const readAtMs = Date.now();
    const stamp = await readStamp(this.path);
    if (this.#generation === 0 || this.#racy || !sameStamp(stamp, this.#stamp)) {
      const names = stamp === undefined ? NO_NAMES : await readNames(this.path);
      if (this.#generation === 0 || !sameNames(names, this.#names)) {
        this.#names = names;
        this.#generation++;
      }
      this.#stamp = stamp;
      this.#racy = isRacy(stamp, readAtMs, this.path);
    }
    this.#validatedAt = startedAt;
  }
}

function readNames(path: string): Promise<ReadonlySet<string>> {
  return new Promise((resolve, reject) => {
    fs.readdir(path, (error, names) => {
      if (error === null) resolve(new Set(names));
      else if (isAbsent(error) || errorCode(error) === "ENOTDIR") resolve(NO_NAMES);
      else reject(ioError("listing", path, error));
    });
  });
}

function sameNames(a: ReadonlySet<string>, b: ReadonlySet<string>): boolean {
  if (a.size !== b.size) return false;
  for (const name of a) if (!b.has(name)) return false;
  return true;
}
