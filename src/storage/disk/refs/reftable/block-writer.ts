/**
 * One block: records whose keys share prefixes, then the places of those that do not (restarts).
 * Specification: technical/reftable, "Ref block format".
 *
 *     OFFSET     SIZE  MEANING
 *     0          1     'r' refs, 'i' index, 'o' objects, 'g' logs
 *     1          3     length up to and with the restarts; in the file's first block the file header counts too
 *     4          …     records: varint shared prefix, varint suffix length << 3 | value type, suffix, value
 *     …          3·n   restarts: offsets of records with a whole key
 *     …          2     n
 *
 * What follows the first four bytes of a log block is deflated; its length is that before.
 */
import { deflate } from "../../../../pack/inflate.js";
import { varintLength, writeVarint } from "./varint.js";

export type BlockType = "r" | "i" | "o" | "g";

const RESTARTS_MAX = 0xffff;
/** git's. */
const RESTART_INTERVAL = 16;
const LOG_DEFLATE_LEVEL = 9;

export class BlockWriter {
  readonly type: BlockType;
  readonly #block: Buffer;
  readonly #headerLength: number;
  readonly #restarts: number[] = [];
  #next: number;
  #entries = 0;
  #lastKey: Buffer = Buffer.alloc(0);

  /** @param headerLength bytes of the file header, which the file's first block contains; 0 in others */
  constructor(type: BlockType, blockSize: number, headerLength: number) {
    this.type = type;
    this.#block = Buffer.alloc(blockSize);
    this.#headerLength = headerLength;
    this.#block.write(type, headerLength, "latin1");
    this.#next = headerLength + 4;
  }

  get isEmpty(): boolean {
    return this.#entries === 0;
  }

  get lastKey(): Buffer {
    return this.#lastKey;
  }

  /** @returns false when there is no room: then nothing has changed */
  add(key: Buffer, valueType: number, value: Buffer): boolean {
    const prefix = this.#entries % RESTART_INTERVAL === 0 ? 0 : commonPrefix(this.#lastKey, key);
    const suffixField = (key.length - prefix) * 8 + valueType;
    const length = varintLength(prefix) + varintLength(suffixField) + key.length - prefix + value.length;
    const isRestart = prefix === 0 && this.#restarts.length < RESTARTS_MAX;
    const restarts = this.#restarts.length + (isRestart ? 1 : 0);
    if (this.#next + length + 3 * restarts + 2 > this.#block.length) return false;
    if (isRestart) this.#restarts.push(this.#next);
    this.#next = writeVarint(this.#block, this.#next, prefix);
    this.#next = writeVarint(this.#block, this.#next, suffixField);
    this.#next += key.copy(this.#block, this.#next, prefix);
    this.#next += value.copy(this.#block, this.#next);
    this.#lastKey = key;
    this.#entries++;
    return true;
  }

  /** Without padding, and without the file header, for which there is room. Not to be used afterwards. */
  finish(): Buffer {
    const block = this.#block;
    for (const restart of this.#restarts) this.#next = block.writeUIntBE(restart, this.#next, 3);
    this.#next = block.writeUInt16BE(this.#restarts.length, this.#next);
    block.writeUIntBE(this.#next, this.#headerLength + 1, 3);
    if (this.type !== "g") return block.subarray(0, this.#next);
    const plain = this.#headerLength + 4;
    return Buffer.concat([
      block.subarray(0, plain),
      deflate(block.subarray(plain, this.#next), LOG_DEFLATE_LEVEL),
    ]);
  }
}

export function commonPrefix(a: Buffer, b: Buffer): number {
  const end = Math.min(a.length, b.length);
  let i = 0;
  while (i < end && a[i] === b[i]) i++;
  return i;
}
