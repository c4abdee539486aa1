/** Reading the blocks that block-writer.ts describes. Whatever the bytes are, only storage/bad-ref comes out. */
import { GitwharfError } from "../../../../base/errors.js";
import { inflateAt } from "../../../../pack/inflate.js";
import { ByteCursor, corrupt } from "./byte-cursor.js";
import type { BlockType } from "./block-writer.js";
import { BLOCK_SIZE_MAX } from "./table-header.js";

export interface Block {
  readonly type: BlockType;
  /** The records are in here, from `start` to `end`. */
  readonly bytes: Buffer;
  readonly start: number;
  readonly end: number;
  /** Where the next block begins, counted in the bytes that this one was read from. */
  readonly next: number;
}

const TYPES: Readonly<Record<number, BlockType>> = { 0x72: "r", 0x69: "i", 0x6f: "o", 0x67: "g" };

/**
 * @param bytes the file, or a part of it
 * @param at where the block begins; `headerLength` is that of the file header when it begins there, else 0
 * @param blockSize of the file; 0 when its blocks are not aligned
 * @param origin where `bytes` begin in the file, for messages
 * @returns undefined when no block begins there. @throws storage/bad-ref
 */
export function readBlock(
  bytes: Buffer,
  at: number,
  headerLength: number,
  blockSize: number,
  origin = 0,
): Block | undefined {
  const start = at + headerLength;
  const type = TYPES[bytes[start] ?? 0];
  if (type === undefined || start + 4 > bytes.length) return undefined;
  const length = bytes.readUIntBE(start + 1, 3);
  if (length < headerLength + 6)
    throw corrupt(`the block at byte ${origin + at} has the impossible length ${length}`);
  if (type === "g") return readLogBlock(bytes, start, length - headerLength - 4, origin);
  if (at + length > bytes.length) throw corrupt(`the block at byte ${origin + at} is cut short`);
  // The last block before one that is not aligned has no padding.
  const padded = length < blockSize && (bytes[at + length] ?? 0) === 0;
  const end = endOfRecords(bytes, start + 4, at + length);
  return { type, bytes, start: start + 4, end, next: at + (padded ? blockSize : length) };
}

function readLogBlock(bytes: Buffer, start: number, plainLength: number, origin: number): Block {
  if (plainLength > BLOCK_SIZE_MAX) throw corrupt(`the log block at byte ${origin + start} is too large`);
  try {
    const { data, consumed } = inflateAt(bytes, start + 4, plainLength);
    const plain = Buffer.from(data.buffer, data.byteOffset, data.length);
    return {
      type: "g",
      bytes: plain,
      start: 0,
      end: endOfRecords(plain, 0, plain.length),
      next: start + 4 + consumed,
    };
  } catch (cause) {
    if (!(cause instanceof GitwharfError) || cause.code === "storage/bad-ref") throw cause;
    throw corrupt(`the log block at byte ${origin + start} cannot be inflated: ${cause.message}`);
  }
}

function endOfRecords(bytes: Buffer, start: number, end: number): number {
  const restarts = end - 2 >= start ? bytes.readUInt16BE(end - 2) : -1;
  const records = end - 2 - 3 * restarts;
  if (restarts < 0 || records < start) throw corrupt(`the restarts of a block reach beyond it`);
  return records;
}

/**
 * Calls for each record. `key` holds it in its first `length` bytes until the next call; `cursor` stands at the value
 * and has to be moved behind it. Answering true ends it.
 */
export function forEachRecord(
  block: Block,
  visit: (key: Buffer, length: number, valueType: number, cursor: ByteCursor) => boolean | void,
): void {
  const cursor = new ByteCursor(block.bytes, block.start, block.end);
  let key = Buffer.allocUnsafe(512);
  let length = 0;
  while (cursor.at < cursor.end) {
    const shared = cursor.varint();
    const suffixField = cursor.varint();
    const suffix = Math.floor(suffixField / 8);
    const start = cursor.take(suffix);
    if (shared > length || shared + suffix === 0)
      throw corrupt(`the record at byte ${start} shares more than there is`);
    if (shared + suffix > key.length) key = Buffer.concat([key], 2 * (shared + suffix));
    block.bytes.copy(key, shared, start, start + suffix);
    length = shared + suffix;
    if (visit(key, length, suffixField % 8, cursor) === true) return;
  }
}
