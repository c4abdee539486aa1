/**
 * Immutable bytes that are read by offset: a pack on disk, in shared memory, or far away with a copy here that fills.
 */
import { FileRange } from "./file-range.js";
import type { MaybePromise } from "./maybe-promise.js";
import { MemoryRange } from "./memory-range.js";
import { type PartialFileDescriptor, PartialFileRange } from "./partial-file-range.js";

export { FileRange } from "./file-range.js";
export { MemoryRange } from "./memory-range.js";

export interface ByteRange {
  readonly sizeBytes: number;
  /**
   * `min(length, sizeBytes - offset)` bytes. Synchronous when they are resident. Borrowed: the caller neither
   * changes them nor keeps them for long (they pin the block that they are part of).
   * @throws storage/io
   */
  read(offset: number, length: number): MaybePromise<Buffer>;
  /** A structured-cloneable description; `openByteRange` opens the same bytes in a worker thread. */
  describe(): ByteRangeDescriptor;
}

export type ByteRangeDescriptor =
  | { readonly kind: "file"; readonly fd: number; readonly sizeBytes: number; readonly cacheKey: string }
  | { readonly kind: "memory"; readonly buffer: SharedArrayBuffer | ArrayBuffer; readonly sizeBytes: number }
  | PartialFileDescriptor;

/** Opens a described range. In a worker thread (`blocking`) a file is read synchronously: only the worker waits. */
export function openByteRange(descriptor: ByteRangeDescriptor, options: { blocking: boolean }): ByteRange {
  if (descriptor.kind === "memory") return new MemoryRange(descriptor.buffer, descriptor.sizeBytes);
  if (descriptor.kind === "partial-file") return new PartialFileRange(descriptor, options);
  return new FileRange(descriptor, options);
}
