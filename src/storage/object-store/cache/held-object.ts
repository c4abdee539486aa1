/** What the cache holds of an object of the bucket: a copy that fills, or the bucket's own file. */
import { closeSync } from "node:fs";
import { type ByteRange, FileRange } from "../../../base/byte-range.js";
import { GitwharfError, isGitwharfError } from "../../../base/errors.js";
import { readDescriptor } from "../../disk/descriptor.js";
import { ioError } from "../../disk/file-errors.js";
import type { Bucket } from "../bucket/bucket.js";
import { HeldRange, OpenDescriptor } from "./held-range.js";

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
  /** Begins to fetch how it begins; nobody waits for that. */
  prefetch(): void;
  /** Whoever still reads gets storage/io; reads that are under way end. Idempotent. */
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
  readonly #descriptor: OpenDescriptor;

  /** @param file.fd taken over */
  constructor(file: { readonly fd: number; readonly key: string; readonly cacheKey: string }) {
    this.#file = file;
    this.#descriptor = new OpenDescriptor(() => closeSync(file.fd));
  }

  get isClosed(): boolean {
    return this.#descriptor.isClosed;
  }

  get isInUse(): boolean {
    return this.users > 0 || this.#descriptor.isInUse;
  }

  prefix(sizeBytes: number): ByteRange {
    return new HeldRange(new FileRange({ ...this.#file, sizeBytes }, { blocking: false }), this.#descriptor);
  }

  async readInto(target: Uint8Array, offset: number): Promise<void> {
    await this.#descriptor.use(() => readWhole(this.#file.fd, target, offset, this.#file.key));
  }

  prefetch(): void {
    // It is here.
  }

  close(): void {
    this.#descriptor.close();
  }
}

/** What a root names is in the bucket: that it is not is nothing that a client asked for. */
export function missing(error: unknown, bucket: Pick<Bucket, "name">, key: string): unknown {
  if (!isGitwharfError(error, "storage/not-found")) return error;
  return new GitwharfError("storage/corrupt", `'${key}' is missing in ${bucket.name}`, { cause: error });
}
