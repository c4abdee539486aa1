/**
 * The fields that all of the object store's formats are made of, written in one way only and read strictly: what is read
 * and written again is the same bytes.
 *
 *     FIELD    SIZE   MEANING
 *     u8       1      a number
 *     u32      4      a number, big-endian
 *     u48      6      a number, big-endian
 *     varint   1–8    a number below 2^53: 7 bits a byte, low bits first, bit 7: more follows; as short as can be
 *     bytes    …      as many as are said elsewhere
 *     text     1–2+n  varint n, n bytes of UTF-8
 *
 * Example: the varint of 300 is `ac 02`.
 */
import { isUtf8 } from "node:buffer";
import { GitwharfError, invariant } from "../../../base/errors.js";

/** @param what "a node of a tree"; @param why a clause */
export function corrupt(what: string, why: string): GitwharfError {
  return new GitwharfError(
    "storage/corrupt",
    `${what} in the object store is corrupt: ${why}; verify tells more`,
  );
}

export const VARINT_BYTES_MAX = 8;
const U48_MAX = 2 ** 48 - 1;

/** How many bytes a varint takes. */
export function varintLength(value: number): number {
  let length = 1;
  for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) length++;
  return length;
}

/** Collects fields; grows as needed. */
export class CanonicalWriter {
  #bytes: Buffer;
  #length = 0;

  constructor(expectedBytes = 256) {
    this.#bytes = Buffer.allocUnsafe(expectedBytes);
  }

  get length(): number {
    return this.#length;
  }

  u8(value: number): void {
    invariant(Number.isInteger(value) && value >= 0 && value <= 0xff, `${value} is no u8`);
    this.#reserve(1);
    this.#bytes[this.#length++] = value;
  }

  u32(value: number): void {
    invariant(Number.isInteger(value) && value >= 0 && value <= 0xffffffff, `${value} is no u32`);
    this.#reserve(4);
    this.#length = this.#bytes.writeUInt32BE(value, this.#length);
  }

  u48(value: number): void {
    invariant(Number.isInteger(value) && value >= 0 && value <= U48_MAX, `${value} is no u48`);
    this.#reserve(6);
    this.#length = this.#bytes.writeUIntBE(value, this.#length, 6);
  }

  varint(value: number): void {
    invariant(Number.isSafeInteger(value) && value >= 0, `${value} is no varint`);
    this.#reserve(VARINT_BYTES_MAX);
    let rest = value;
    for (; rest >= 128; rest = Math.floor(rest / 128)) this.#bytes[this.#length++] = (rest % 128) | 0x80;
    this.#bytes[this.#length++] = rest;
  }

  bytes(value: Uint8Array, start = 0): void {
    this.#reserve(value.length - start);
    this.#bytes.set(start === 0 ? value : value.subarray(start), this.#length);
    this.#length += value.length - start;
  }

  /** Lower-case hexadecimal digits, two a byte. */
  hex(value: string): void {
    this.#reserve(value.length / 2);
    const written = this.#bytes.write(value, this.#length, "hex");
    invariant(written * 2 === value.length, "a hash is no hexadecimal text");
    this.#length += written;
  }

  /** Four ASCII characters, as they are. */
  type(type: string): void {
    this.bytes(Buffer.from(type, "latin1"));
  }

  text(value: string): void {
    const bytes = Buffer.from(value, "utf8");
    this.varint(bytes.length);
    this.bytes(bytes);
  }

  /** What was written, in bytes of its own; the writer is empty then. */
  take(): Buffer {
    const taken = Buffer.allocUnsafeSlow(this.#length);
    this.#bytes.copy(taken, 0, 0, this.#length);
    this.#length = 0;
    return taken;
  }

  #reserve(more: number): void {
    const needed = this.#length + more;
    if (needed <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafe(Math.max(needed, this.#bytes.length * 2));
    this.#bytes.copy(larger, 0, 0, this.#length);
    this.#bytes = larger;
  }
}

/** Every method throws storage/corrupt where the bytes end too early or are not the canonical ones. */
export class CanonicalReader {
  readonly #bytes: Buffer;
  readonly #what: string;
  #at = 0;

  /** @param what for messages: "a node of a tree" */
  constructor(bytes: Buffer, what: string) {
    this.#bytes = bytes;
    this.#what = what;
  }

  get offset(): number {
    return this.#at;
  }

  get remaining(): number {
    return this.#bytes.length - this.#at;
  }

  bad(why: string): GitwharfError {
    return corrupt(this.#what, why);
  }

  /** The bytes of a node begin with its type. */
  type(type: string): void {
    if (this.bytes(type.length).toString("latin1") !== type) throw this.bad("it is of another type");
  }

  u8(): number {
    return this.#bytes[this.#advance(1)] as number;
  }

  u32(): number {
    return this.#bytes.readUInt32BE(this.#advance(4));
  }

  u48(): number {
    return this.#bytes.readUIntBE(this.#advance(6), 6);
  }

  /** @param max a larger number is refused */
  varint(max: number): number {
    let value = 0;
    let scale = 1;
    for (let length = 1; ; length++) {
      const byte = this.u8();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (byte === 0 && length > 1) throw this.bad("a number is longer than need be");
        if (value > max) throw this.bad(`a number is ${value}, the most is ${max}`);
        return value;
      }
      if (length === VARINT_BYTES_MAX) throw this.bad("a number does not end");
      scale *= 128;
    }
  }

  /** Part of the bytes that are read, not a copy. */
  bytes(length: number): Buffer {
    const start = this.#advance(length);
    return this.#bytes.subarray(start, start + length);
  }

  hex(length: number): string {
    const start = this.#advance(length);
    return this.#bytes.toString("hex", start, start + length);
  }

  /** @param bytesMax of the text in UTF-8 */
  text(bytesMax: number): string {
    return this.utf8(this.varint(bytesMax));
  }

  utf8(length: number): string {
    const bytes = this.bytes(length);
    if (!isUtf8(bytes)) throw this.bad("a text is not UTF-8");
    return bytes.toString("utf8");
  }

  /** Nothing may follow. */
  end(): void {
    if (this.remaining > 0) throw this.bad(`${this.remaining} bytes follow its end`);
  }

  #advance(length: number): number {
    const start = this.#at;
    if (length > this.#bytes.length - start) throw this.bad("it ends too early");
    this.#at = start + length;
    return start;
  }
}
