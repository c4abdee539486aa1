/** Reading the fields of records one after the other, never past the end of their block. */
import { GitwharfError } from "../../../../base/errors.js";
import { decodeText } from "./table-text.js";
import { VARINT_BYTES_MAX } from "./varint.js";

export class ByteCursor {
  readonly bytes: Buffer;
  readonly end: number;
  at: number;

  constructor(bytes: Buffer, at: number, end: number) {
    if (at < 0 || at > end || end > bytes.length) throw corrupt(`a block is cut short at byte ${at}`);
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  /** @throws storage/bad-ref */
  varint(): number {
    let value = 0;
    for (let i = 0; i <= VARINT_BYTES_MAX; i++) {
      const byte = this.at < this.end ? (this.bytes[this.at++] ?? 0) : -1;
      if (byte < 0) break;
      value = value * 128 + (byte & 0x7f);
      if (!Number.isSafeInteger(value)) break;
      if (byte < 0x80) return value;
      value++;
    }
    throw corrupt(`a number at byte ${this.at} has no end`);
  }

  /** Passes over so many bytes. @returns where they begin. @throws storage/bad-ref */
  take(length: number): number {
    const start = this.at;
    if (length > this.end - start) throw corrupt(`a record at byte ${start} is longer than its block`);
    this.at = start + length;
    return start;
  }

  /** @throws storage/bad-ref */
  text(): string {
    const length = this.varint();
    const start = this.take(length);
    return decodeText(this.bytes, start, start + length);
  }
}

export function corrupt(what: string): GitwharfError {
  return new GitwharfError("storage/bad-ref", `the reftable is corrupt: ${what}; run 'git refs verify'`);
}

/** A 64-bit number that is exact as a number. @throws storage/bad-ref */
export function readUint64(bytes: Buffer, offset: number): number {
  const value = bytes.readUInt32BE(offset) * 2 ** 32 + bytes.readUInt32BE(offset + 4);
  if (!Number.isSafeInteger(value)) throw corrupt(`the number at byte ${offset} is too large`);
  return value;
}

export function writeUint64(target: Buffer, offset: number, value: number): void {
  target.writeUInt32BE(Math.floor(value / 2 ** 32), offset);
  target.writeUInt32BE(value % 2 ** 32, offset + 4);
}
