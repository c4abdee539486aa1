/**
 * The few data types of SSH that keys and certificates are made of. Specification: RFC 4251, section 5.
 *
 *   TYPE    BYTES
 *   uint32  4, big-endian
 *   uint64  8, big-endian
 *   string  a uint32 with its length, then that many bytes
 *   mpint   a string: a number in two's complement, big-endian
 */
import { GitwharfError } from "../base/errors.js";

/** Reads what a peer sent. @throws access/malformed-key when the bytes end early */
export class SshReader {
  readonly #bytes: Buffer;
  #offset = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get offset(): number {
    return this.#offset;
  }

  get done(): boolean {
    return this.#offset === this.#bytes.length;
  }

  uint8(): number {
    return this.#take(1).readUInt8();
  }

  uint32(): number {
    return this.#take(4).readUInt32BE();
  }

  uint64(): bigint {
    return this.#take(8).readBigUInt64BE();
  }

  bytes(): Buffer {
    return this.#take(this.uint32());
  }

  text(): string {
    return this.bytes().toString("utf8");
  }

  /** A number that must not be negative, without leading zeros. */
  unsigned(): Buffer {
    const bytes = this.bytes();
    if (((bytes[0] ?? 0) & 0x80) !== 0) throw malformed("a number in it is negative");
    let start = 0;
    while (start < bytes.length && bytes[start] === 0) start++;
    return bytes.subarray(start);
  }

  /** @throws access/malformed-key when something is left */
  end(): void {
    if (!this.done) throw malformed("bytes follow its end");
  }

  #take(length: number): Buffer {
    if (length > this.#bytes.length - this.#offset) throw malformed("it ends early");
    this.#offset += length;
    return this.#bytes.subarray(this.#offset - length, this.#offset);
  }
}

export function encodeSshString(bytes: string | Uint8Array): Buffer {
  const body = typeof bytes === "string" ? Buffer.from(bytes) : bytes;
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length);
  return Buffer.concat([length, body]);
}

export function malformed(why: string, cause?: unknown): GitwharfError {
  return new GitwharfError("access/malformed-key", `the SSH key cannot be used: ${why}`, { cause });
}
