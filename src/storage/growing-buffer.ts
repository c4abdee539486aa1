/**
 * Bytes in shared memory that are appended to, overwritten and cut: a pack under construction that is small, or the
 * packs of the memory backend. Grows by doubling; memory is at most twice the size, three times while it grows.
 */
import { MemoryRange } from "../base/byte-range.js";
import { GitwharfError } from "../base/errors.js";

const FIRST_BYTES = 16 * 1024;

export class GrowingBuffer {
  #buffer = new SharedArrayBuffer(0);
  #bytes = Buffer.from(this.#buffer);
  #sizeBytes = 0;

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  append(bytes: Uint8Array): void {
    const end = this.#sizeBytes + bytes.length;
    if (end > this.#buffer.byteLength) this.#grow(Math.max(end, this.#buffer.byteLength * 2, FIRST_BYTES));
    this.#bytes.set(bytes, this.#sizeBytes);
    this.#sizeBytes = end;
  }

  overwrite(offset: number, bytes: Uint8Array): void {
    if (offset + bytes.length > this.#sizeBytes) {
      throw new GitwharfError("base/invariant", "bytes were overwritten past the end of a pack");
    }
    this.#bytes.set(bytes, offset);
  }

  truncate(sizeBytes: number): void {
    if (sizeBytes < this.#sizeBytes) this.#sizeBytes = sizeBytes;
  }

  /** Borrowed: valid until the next change. */
  bytes(): Buffer {
    return this.#bytes.subarray(0, this.#sizeBytes);
  }

  range(): MemoryRange {
    return new MemoryRange(this.#buffer, this.#sizeBytes);
  }

  /** The final bytes, in a buffer of their own when much of this one is unused. */
  finish(): MemoryRange {
    if (this.#sizeBytes < this.#buffer.byteLength * 0.75) this.#grow(this.#sizeBytes);
    return this.range();
  }

  #grow(capacity: number): void {
    const buffer = new SharedArrayBuffer(capacity);
    const bytes = Buffer.from(buffer);
    bytes.set(this.bytes());
    this.#buffer = buffer;
    this.#bytes = bytes;
  }
}
