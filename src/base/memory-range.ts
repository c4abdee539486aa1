/** Bytes in memory, read by offset. */
import type { ByteRange, ByteRangeDescriptor } from "./byte-range.js";

export class MemoryRange implements ByteRange {
  readonly sizeBytes: number;
  readonly #buffer: SharedArrayBuffer | ArrayBuffer;

  constructor(buffer: SharedArrayBuffer | ArrayBuffer, sizeBytes: number = buffer.byteLength) {
    this.#buffer = buffer;
    this.sizeBytes = sizeBytes;
  }

  read(offset: number, length: number): Buffer {
    const start = Math.min(offset, this.sizeBytes);
    return Buffer.from(this.#buffer, start, Math.min(length, this.sizeBytes - start));
  }

  describe(): ByteRangeDescriptor {
    return { kind: "memory", buffer: this.#buffer, sizeBytes: this.sizeBytes };
  }
}
