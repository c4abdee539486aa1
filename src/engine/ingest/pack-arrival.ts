/**
 * The bytes of a pack as they come: spooled into the quarantine, counted against the limits, hashed for the trailer.
 * Entries are not looked at here.
 *
 *     OFFSET  SIZE   MEANING
 *     0       4      "PACK"
 *     4       4      version, 2 or 3
 *     8       4      how many objects
 *     12      …      entries
 *     …       h      hash of all the above
 */
import type { Hash } from "node:crypto";
import { GitwharfError } from "../../base/errors.js";
import type { Limits } from "../../base/limits.js";
import { createObjectHash, hashBytes, type ObjectFormat } from "../../object/object-format.js";
import { PACK_HEADER_BYTES } from "../../pack/pack-writer.js";
import type { PackSink } from "../../storage/contracts/quarantine.js";
import { limitExceeded } from "./limit-exceeded.js";

export interface PackArrivalOptions {
  readonly sink: PackSink;
  readonly objectFormat: ObjectFormat;
  readonly limits: Limits;
  /** receive.maxInputSize, bytes. */
  readonly maxInputSizeBytes: number;
}

export class PackArrival {
  readonly sink: PackSink;
  readonly #options: PackArrivalOptions;
  readonly #hashBytes: number;
  readonly #hash: Hash;
  /** The last bytes, which may be the trailer and are not hashed yet; the head as long as it is not whole. */
  #tail: Buffer = Buffer.alloc(0);
  #head: Buffer = Buffer.alloc(0);
  #objectCount: number | undefined;
  #sizeBytes = 0;

  constructor(options: PackArrivalOptions) {
    this.#options = options;
    this.sink = options.sink;
    this.#hashBytes = hashBytes(options.objectFormat);
    this.#hash = createObjectHash(options.objectFormat);
  }

  /** Bytes that are in the sink and can be read. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** What the head claims; undefined until it is there. */
  get objectCount(): number | undefined {
    return this.#objectCount;
  }

  /** @throws pack/bad-pack, base/limit-exceeded, storage/io */
  async take(chunk: Uint8Array): Promise<void> {
    if (chunk.length === 0) return;
    const { limits, maxInputSizeBytes } = this.#options;
    const size = this.#sizeBytes + chunk.length;
    if (size > maxInputSizeBytes) {
      // git's own words for receive.maxInputSize.
      throw new GitwharfError(
        "base/limit-exceeded",
        `pack exceeds maximum allowed size (${maxInputSizeBytes} bytes)`,
        {
          details: { limit: "receive.maxInputSize", max: maxInputSizeBytes },
        },
      );
    }
    if (size > limits.packSizeBytesMax)
      throw limitExceeded("packSizeBytesMax", "the pack", limits.packSizeBytesMax, "bytes");
    if (this.#objectCount === undefined) this.#readHead(chunk);
    this.#update(chunk);
    await this.sink.append(chunk);
    this.#sizeBytes = size;
  }

  /**
   * Whether the last bytes are the hash of all before them: then the pack is whole, and nothing needs to be looked at
   * before. (It may be whole otherwise, and wrong.)
   */
  get seemsWhole(): boolean {
    return (
      this.#sizeBytes >= PACK_HEADER_BYTES + this.#hashBytes && this.#hash.copy().digest().equals(this.#tail)
    );
  }

  /**
   * Once all entries have been read: is the trailer there, and right?
   * @param end where the last entry ends
   * @returns the trailer in hexadecimal; undefined when more bytes are needed
   * @throws pack/bad-pack when bytes follow it, pack/checksum-mismatch
   */
  trailer(end: number): string | undefined {
    const excess = this.#sizeBytes - end - this.#hashBytes;
    if (excess < 0) return undefined;
    if (excess > 0) throw bad("bytes follow its trailer");
    const trailer = this.#tail.toString("hex");
    if (this.#hash.digest("hex") !== trailer) {
      const message = "the pack's trailer does not fit its bytes: it was damaged on the way";
      throw new GitwharfError("pack/checksum-mismatch", message);
    }
    return trailer;
  }

  /** The stream ended too early. */
  truncated(entries: number): GitwharfError {
    const { objectCount } = this;
    const where =
      objectCount === undefined
        ? "its head"
        : entries < objectCount
          ? `object ${entries + 1} of ${objectCount}`
          : "its trailer";
    return new GitwharfError("base/truncated", `the pack ends after ${this.#sizeBytes} bytes, in ${where}`);
  }

  #readHead(chunk: Uint8Array): void {
    const head = Buffer.concat([this.#head, chunk.subarray(0, PACK_HEADER_BYTES)]);
    this.#head = head;
    if (head.toString("latin1", 0, 4) !== "PACK".slice(0, Math.min(4, head.length)))
      throw bad("it does not begin with 'PACK'");
    if (head.length < PACK_HEADER_BYTES) return;
    const version = head.readUInt32BE(4);
    if (version !== 2 && version !== 3) throw bad(`it has version ${version}; 2 and 3 are known`);
    const { packObjectsMax } = this.#options.limits;
    this.#objectCount = head.readUInt32BE(8);
    if (this.#objectCount > packObjectsMax)
      throw limitExceeded("packObjectsMax", "the pack", packObjectsMax, "objects");
  }

  /** Hashes all but the last bytes, which are kept. */
  #update(chunk: Uint8Array): void {
    const h = this.#hashBytes;
    if (chunk.length < h) {
      const joined = Buffer.concat([this.#tail, chunk]);
      const final = Math.max(0, joined.length - h);
      this.#hash.update(joined.subarray(0, final));
      this.#tail = joined.subarray(final);
      return;
    }
    this.#hash.update(this.#tail);
    this.#hash.update(chunk.subarray(0, chunk.length - h));
    this.#tail = Buffer.from(chunk.subarray(chunk.length - h));
  }
}

function bad(why: string): GitwharfError {
  return new GitwharfError("pack/bad-pack", `the pack is malformed: ${why}`);
}
