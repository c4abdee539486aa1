/**
 * The spooled pack as a worker thread reads it: synchronously, by offset, while the main thread still appends to it.
 * (`FileRange` does not serve here: it keeps blocks for ever, and the last block of a growing file is not final.)
 */
import { readSync } from "node:fs";
import type { ByteRangeDescriptor } from "../../base/byte-range.js";
import { GitwharfError } from "../../base/errors.js";

export interface Spool {
  readonly sizeBytes: number;
  /** The whole of it, where it is in memory anyway. */
  readonly resident: Buffer | undefined;
  /** Fills `target` from `targetOffset` with up to `length` bytes. @returns how many @throws storage/io */
  read(target: Buffer, targetOffset: number, length: number, offset: number): number;
}

export function openSpool(descriptor: ByteRangeDescriptor): Spool {
  const { sizeBytes } = descriptor;
  if (descriptor.kind === "memory") {
    const bytes = Buffer.from(descriptor.buffer, 0, sizeBytes);
    return {
      sizeBytes,
      resident: bytes,
      read: (target, targetOffset, length, offset) =>
        bytes.copy(target, targetOffset, offset, Math.min(sizeBytes, offset + length)),
    };
  }
  const { fd } = descriptor;
  return {
    sizeBytes,
    resident: undefined,
    read(target, targetOffset, length, offset) {
      const want = Math.max(0, Math.min(length, sizeBytes - offset));
      let done = 0;
      while (done < want) {
        let n: number;
        try {
          n = readSync(fd, target, targetOffset + done, want - done, offset + done);
        } catch (cause) {
          throw new GitwharfError("storage/io", "the pack that is being received could not be read back", {
            cause,
          });
        }
        if (n === 0)
          throw new GitwharfError("storage/io", "the pack that is being received was cut off on this side");
        done += n;
      }
      return done;
    },
  };
}

const BLOCK_BYTES = 128 * 1024;
/** Each block goes on for so much into the next one: most entries then lie within a single block. */
const OVERLAP_BYTES = 16 * 1024;

interface Block {
  readonly memory: Buffer;
  length: number;
}

/**
 * Random reads of a complete spool through a cache of blocks, for one thread. Memory: `cacheBytes`, and the entry
 * that is being read.
 */
export class SpoolCache {
  readonly #spool: Spool;
  readonly #blocks = new Map<number, Block>();
  readonly #blocksMax: number;
  #last = -1;
  #lastBlock: Block = { memory: Buffer.alloc(0), length: 0 };

  constructor(spool: Spool, cacheBytes: number) {
    this.#spool = spool;
    this.#blocksMax = Math.max(2, Math.floor(cacheBytes / (BLOCK_BYTES + OVERLAP_BYTES)));
  }

  /**
   * Calls `use` with a buffer, where in it the wanted bytes begin, and where they end. The bytes are valid during
   * the call only.
   */
  view<T>(offset: number, length: number, use: (bytes: Buffer, at: number, end: number) => T): T {
    const { resident } = this.#spool;
    if (resident !== undefined) return use(resident, offset, Math.min(resident.length, offset + length));
    const number = Math.floor(offset / BLOCK_BYTES);
    const at = offset - number * BLOCK_BYTES;
    if (at + length <= BLOCK_BYTES + OVERLAP_BYTES) {
      const block = number === this.#last ? this.#lastBlock : this.#open(number);
      return use(block.memory, at, Math.min(block.length, at + length));
    }
    const bytes = Buffer.allocUnsafeSlow(length);
    return use(bytes, 0, this.#spool.read(bytes, 0, length, offset));
  }

  #open(number: number): Block {
    let block = this.#blocks.get(number);
    if (block === undefined) {
      block = this.#takeOldest() ?? {
        memory: Buffer.allocUnsafeSlow(BLOCK_BYTES + OVERLAP_BYTES),
        length: 0,
      };
      block.length = this.#spool.read(block.memory, 0, block.memory.length, number * BLOCK_BYTES);
      this.#blocks.set(number, block);
    }
    this.#last = number;
    this.#lastBlock = block;
    return block;
  }

  #takeOldest(): Block | undefined {
    if (this.#blocks.size < this.#blocksMax) return undefined;
    for (const [number, block] of this.#blocks) {
      this.#blocks.delete(number);
      return block;
    }
    return undefined;
  }
}
