/**
 * Memory for many small objects: cut one after another from larger pieces, because a buffer of its own costs more
 * than the object's content. A cut pins its piece (120 KiB) for as long as anyone holds it, so what is kept for long
 * is copied.
 */

/** Below what allocators map anew each time (128 KiB), so that memory is used again. */
const SLAB_BYTES = 120 * 1024;
/** Larger objects get memory of their own. */
export const SLAB_CUT_BYTES_MAX = 32 * 1024;

export class Slab {
  memory: Buffer = Buffer.alloc(0);
  /** Where the next cut begins. */
  used = 0;

  /** Makes sure that `sizeBytes` (at most a slab) are free behind `used`. */
  reserve(sizeBytes: number): void {
    if (this.used + sizeBytes <= this.memory.length) return;
    this.memory = Buffer.allocUnsafeSlow(SLAB_BYTES);
    this.used = 0;
  }

  /** The next bytes, reserved before. */
  cut(sizeBytes: number): Buffer {
    const start = this.used;
    this.used = start + sizeBytes;
    return this.memory.subarray(start, this.used);
  }
}

/** The thread's own. */
export const slab = new Slab();

/** Uninitialized bytes. */
export function allocateBytes(sizeBytes: number): Buffer {
  if (sizeBytes > SLAB_CUT_BYTES_MAX) return Buffer.allocUnsafeSlow(sizeBytes);
  slab.reserve(sizeBytes);
  return slab.cut(sizeBytes);
}

/** The bytes in memory that nothing else shares: for what is kept for long. */
export function detached(bytes: Buffer): Buffer {
  if (bytes.buffer.byteLength <= bytes.length + bytes.length / 8 + 512) return bytes;
  const copy = Buffer.allocUnsafeSlow(bytes.length);
  bytes.copy(copy);
  return copy;
}
