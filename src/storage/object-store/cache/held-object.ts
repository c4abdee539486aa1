/** What the cache holds of an object of the bucket: a copy that fills, or the bucket's own file. */
import { closeSync } from "node:fs";
import { type ByteRange, FileRange } from "../../../base/byte-range.js";
import { GitwharfError, isGitwharfError } from "../../../base/errors.js";
import { readDescriptor } from "../../disk/descriptor.js";
import { ioError } from "../../disk/file-errors.js";
import type { Bucket } from "../bucket/bucket.js";

export interface HeldObject {
  /** How many have it open. */
  users: number;
  /** On this disk, and the cache's own. */
  readonly presentBytes: number;
  readonly isInUse: boolean;
  readonly isClosed: boolean;
  /** The first bytes of it. */
  prefix(sizeBytes: number): ByteRange;
  /** Fills the target from there on. @throws storage/io, storage/corrupt */
  readInto(target: Uint8Array, offset: number): Promise<void>;
  /** Idempotent. */
  close(): void;
}

/** @throws storage/io */
export async function readWhole(fd: number, target: Uint8Array, offset: number, what: string): Promise<void> {
  let n: number;
  try {
    n = await readDescriptor(fd, target, offset);
  } catch (cause) {
    throw ioError("reading", what, cause);
  }
  if (n < target.length)
    throw new GitwharfError(
      "storage/io",
      `'${what}' ends at ${offset + n} instead of ${offset + target.length} bytes`,
    );
}

/** A bucket in a directory: nothing has to be fetched. */
export class LocalObject implements HeldObject {
  users = 0;
  readonly presentBytes = 0;
  readonly #file: { readonly fd: number; readonly key: string; readonly cacheKey: string };
  #isClosed = false;

  /** @param file.fd taken over */
  constructor(file: { readonly fd: number; readonly key: string; readonly cacheKey: string }) {
    this.#file = file;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  get isInUse(): boolean {
    return this.users > 0;
  }

  prefix(sizeBytes: number): ByteRange {
    return new FileRange({ ...this.#file, sizeBytes }, { blocking: false });
  }

  readInto(target: Uint8Array, offset: number): Promise<void> {
    return readWhole(this.#file.fd, target, offset, this.#file.key);
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    closeSync(this.#file.fd);
  }
}

/** What a root names is in the bucket: that it is not is nothing that a client asked for. */
export function missing(error: unknown, bucket: Bucket, key: string): unknown {
  if (!isGitwharfError(error, "storage/not-found")) return error;
  return new GitwharfError("storage/corrupt", `'${key}' is missing in ${bucket.name}`, { cause: error });
}
