/**
 * A range of an object that the cache holds. Once the object is closed its descriptor's number may be another file's: what is
 * read then fails, and a read that is under way is waited for.
 */
import type { ByteRange, ByteRangeDescriptor } from "../../../base/byte-range.js";
import { GitwharfError } from "../../../base/errors.js";
import { isPromise, type MaybePromise } from "../../../base/maybe-promise.js";

/** How many read from a descriptor; closed once nobody does. */
export class OpenDescriptor {
  readonly #close: () => void;
  #reads = 0;
  #isClosed = false;

  constructor(close: () => void) {
    this.#close = close;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  get isInUse(): boolean {
    return this.#reads > 0;
  }

  /** @throws storage/io once it is closed */
  use<T>(body: () => MaybePromise<T>): MaybePromise<T> {
    if (this.#isClosed)
      throw new GitwharfError(
        "storage/io",
        "a pack was read after it was given back, or the store is closed",
      );
    const result = body();
    if (!isPromise(result)) return result;
    this.#reads++;
    return result.finally(() => {
      if (--this.#reads === 0 && this.#isClosed) this.#close();
    });
  }

  /** Idempotent. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#reads === 0) this.#close();
  }
}

export class HeldRange implements ByteRange {
  readonly sizeBytes: number;
  readonly #inner: ByteRange;
  readonly #descriptor: OpenDescriptor;

  constructor(inner: ByteRange, descriptor: OpenDescriptor) {
    this.sizeBytes = inner.sizeBytes;
    this.#inner = inner;
    this.#descriptor = descriptor;
  }

  read(offset: number, length: number): MaybePromise<Buffer> {
    return this.#descriptor.use(() => this.#inner.read(offset, length));
  }

  describe(): ByteRangeDescriptor {
    return this.#inner.describe();
  }
}
