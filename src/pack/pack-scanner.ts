/**
 * Reads a pack as it arrives, in pieces of any size: finds every entry, checks its compression, hashes whole
 * objects, verifies the trailer. Deltas are not resolved here.
 * Specification: gitformat-pack. Everything in the stream is a peer's claim: memory grows with what arrives.
 */
import { crc32 } from "node:zlib";
import { GitwharfError } from "../base/errors.js";
import type { Limits } from "../base/limits.js";
import { createObjectHash, hashBytes, type ObjectFormat } from "../object/object-format.js";
import { hashObject, type ObjectId, type ObjectType } from "../object/object-id.js";
import {
  ENTRY_HEADER_BYTES_MAX,
  type EntryHeader,
  type EntryType,
  objectTypeOf,
  parseEntryHeader,
} from "./entry-header.js";
import { canStreamInflate, StreamInflater, tryInflateAt } from "./inflate.js";
import { PACK_HEADER_BYTES } from "./pack-writer.js";

export type PackLimits = Pick<
  Limits,
  "packSizeBytesMax" | "packObjectsMax" | "objectSizeBytesMax" | "inflatedTotalBytesMax"
>;

export interface ScannedEntry {
  /** 0-based, in the order of the pack. */
  readonly number: number;
  readonly offset: number;
  /** Where the next entry begins. */
  readonly endOffset: number;
  readonly type: EntryType;
  /** Inflated bytes: of the object, or of the delta. */
  readonly sizeBytes: number;
  /** Of the packed bytes, head included. */
  readonly crc32: number;
  /** Absolute offset of an OFS_DELTA's base. */
  readonly baseOffset: number | undefined;
  readonly baseOid: ObjectId | undefined;
  /** Of a whole object; undefined for a delta. */
  readonly oid: ObjectId | undefined;
  /** Inflated content, unless it was larger than `keepBytesMax`. The receiver's own. */
  readonly data: Buffer | undefined;
}

export interface ObjectHasher {
  update(piece: Uint8Array): void;
  /** @throws pack/collision where the hash detects crafted collisions */
  digest(): ObjectId;
}

export interface PackScannerOptions {
  readonly objectFormat: ObjectFormat;
  readonly limits: PackLimits;
  readonly onEntry: (entry: ScannedEntry) => void;
  /** Called once the head is known. */
  readonly onHeader?: (objectCount: number) => void;
  /** Entries that inflate to more are handed on in pieces and never held whole. @default 1 MiB */
  readonly keepBytesMax?: number;
  /** Hashes objects in place of plain SHA-1 or SHA-256. */
  readonly createHasher?: (type: ObjectType, sizeBytes: number) => ObjectHasher;
}

interface LargeEntry {
  readonly header: EntryHeader;
  readonly offset: number;
  readonly inflater: StreamInflater;
  readonly hasher: ObjectHasher | undefined;
  crc: number;
}

export class PackScanner {
  readonly #options: PackScannerOptions;
  readonly #hashBytes: number;
  readonly #keepBytesMax: number;
  readonly #trailerHash;
  /** Bytes not yet consumed, and where the first of them stands in the pack. */
  #window: Buffer = Buffer.alloc(0);
  #windowOffset = 0;
  /** Pieces that arrived while an entry is waited for; joined when there is enough to try again. */
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #wantBytes = PACK_HEADER_BYTES;
  #objectCount = -1;
  #entries = 0;
  #inflatedBytes = 0;
  #large: LargeEntry | undefined;
  #trailer: string | undefined;
  #receivedBytes = 0;

  constructor(options: PackScannerOptions) {
    this.#options = options;
    this.#hashBytes = hashBytes(options.objectFormat);
    this.#keepBytesMax = canStreamInflate ? (options.keepBytesMax ?? 1024 * 1024) : Infinity;
    this.#trailerHash = createObjectHash(options.objectFormat);
  }

  /** What the head claims; undefined before it is there. */
  get objectCount(): number | undefined {
    return this.#objectCount < 0 ? undefined : this.#objectCount;
  }

  /** The verified trailer, once the pack is whole. */
  get trailer(): string | undefined {
    return this.#trailer;
  }

  /** Bytes of the pack without its trailer, so far. */
  get bodyBytes(): number {
    return this.#windowOffset;
  }

  get inflatedTotalBytes(): number {
    return this.#inflatedBytes;
  }

  /**
   * Takes the next bytes; they are not kept beyond the call except for what is not yet consumed (copied).
   * @throws pack/bad-pack, pack/bad-zlib, pack/checksum-mismatch, pack/collision, base/limit-exceeded
   */
  push(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    this.#receivedBytes += chunk.length;
    if (this.#receivedBytes > this.#options.limits.packSizeBytesMax) {
      throw exceeded("packSizeBytesMax", "the pack", this.#options.limits.packSizeBytesMax, "bytes");
    }
    if (this.#trailer !== undefined) throw bad("bytes follow its trailer");
    this.#waiting.push(chunk);
    this.#waitingBytes += chunk.length;
    if (this.#window.length + this.#waitingBytes < this.#wantBytes) {
      // The caller may use its buffer again.
      this.#waiting[this.#waiting.length - 1] = Uint8Array.prototype.slice.call(chunk);
      return;
    }
    this.#join();
    this.#scan(false);
  }

  /** The stream has ended. @throws base/truncated when the pack is not whole, else as `push` */
  end(): void {
    this.#join();
    if (this.#trailer === undefined) this.#scan(true);
    if (this.#trailer === undefined) {
      const missing =
        this.#objectCount < 0 ? "its head" : `object ${this.#entries + 1} of ${this.#objectCount}`;
      const where = this.#entries === this.#objectCount ? "its trailer" : missing;
      throw new GitwharfError(
        "base/truncated",
        `the pack ends after ${this.#receivedBytes} bytes, in ${where}`,
      );
    }
  }

  #join(): void {
    if (this.#waitingBytes === 0) return;
    const parts = this.#window.length === 0 ? this.#waiting : [this.#window, ...this.#waiting];
    const [only] = parts;
    this.#window =
      parts.length === 1 && only !== undefined
        ? Buffer.from(only.buffer, only.byteOffset, only.length)
        : Buffer.concat(parts);
    this.#waiting = [];
    this.#waitingBytes = 0;
  }

  #scan(last: boolean): void {
    let at = 0;
    this.#wantBytes = 1;
    if (this.#objectCount < 0) {
      if (this.#window.length < PACK_HEADER_BYTES) {
        this.#wantBytes = PACK_HEADER_BYTES;
        return this.#consume(0);
      }
      this.#readHead();
      at = PACK_HEADER_BYTES;
    }
    while (this.#entries < this.#objectCount) {
      const next = this.#large === undefined ? this.#entry(at, last) : this.#continueLarge(this.#large, at);
      if (next === undefined) break;
      at = next;
    }
    this.#consume(at);
    if (this.#entries === this.#objectCount && this.#large === undefined) this.#readTrailer();
  }

  #readHead(): void {
    const head = this.#window;
    if (head.toString("latin1", 0, 4) !== "PACK") throw bad("it does not begin with 'PACK'");
    const version = head.readUInt32BE(4);
    if (version !== 2 && version !== 3) throw bad(`it has version ${version}; 2 and 3 are known`);
    this.#objectCount = head.readUInt32BE(8);
    const { packObjectsMax } = this.#options.limits;
    if (this.#objectCount > packObjectsMax)
      throw exceeded("packObjectsMax", "the pack", packObjectsMax, "objects");
    this.#options.onHeader?.(this.#objectCount);
  }

  /** @returns where the next entry begins in the window; undefined when this one is not whole yet */
  #entry(at: number, last: boolean): number | undefined {
    const { objectFormat, limits } = this.#options;
    const window = this.#window;
    const header = parseEntryHeader(window, at, objectFormat);
    if (header === undefined) {
      this.#wantBytes = Math.max(1, Math.min(window.length - at + 1, ENTRY_HEADER_BYTES_MAX));
      return undefined;
    }
    const offset = this.#windowOffset + at;
    if (header.sizeBytes > limits.objectSizeBytesMax) {
      throw exceeded(
        "objectSizeBytesMax",
        `the object at offset ${offset}`,
        limits.objectSizeBytesMax,
        "bytes",
      );
    }
    if (
      header.baseOffsetDistance !== undefined &&
      (header.baseOffsetDistance === 0 || offset - header.baseOffsetDistance < PACK_HEADER_BYTES)
    ) {
      throw bad(`the delta at offset ${offset} has its base outside of the pack`);
    }
    const type = objectTypeOf(header.type);
    if (header.sizeBytes > this.#keepBytesMax) {
      this.#inflatedBy(header.sizeBytes);
      const hasher = type === undefined ? undefined : this.#hasher(type, header.sizeBytes);
      const head = window.subarray(at, at + header.headerLength);
      this.#large = {
        header,
        offset,
        hasher,
        inflater: new StreamInflater(header.sizeBytes, (piece) => hasher?.update(piece)),
        crc: crc32(head),
      };
      return at + header.headerLength;
    }
    const inflated = tryInflateAt(window, at + header.headerLength, header.sizeBytes);
    if (inflated === "short") {
      // Trying again at every byte would cost the square of the entry: wait for twice as much.
      if (!last) this.#wantBytes = (window.length - at) * 2;
      return undefined;
    }
    this.#inflatedBy(header.sizeBytes);
    const end = at + header.headerLength + inflated.consumed;
    this.#emit(
      header,
      offset,
      this.#windowOffset + end,
      crc32(window.subarray(at, end)),
      type === undefined ? undefined : this.#hash(type, inflated.data),
      inflated.data,
    );
    return end;
  }

  #continueLarge(large: LargeEntry, at: number): number | undefined {
    const input = this.#window.subarray(at);
    if (input.length === 0) return undefined;
    const used = large.inflater.push(input);
    const end = used === undefined ? this.#window.length : at + used;
    large.crc = crc32(this.#window.subarray(at, Math.max(at, end)), large.crc);
    if (used === undefined) {
      // Everything was taken: there is nothing to keep, and nothing more to look at.
      this.#consume(end);
      return undefined;
    }
    this.#large = undefined;
    this.#emit(
      large.header,
      large.offset,
      this.#windowOffset + end,
      large.crc,
      large.hasher?.digest(),
      undefined,
    );
    return end;
  }

  #emit(
    header: EntryHeader,
    offset: number,
    endOffset: number,
    crc: number,
    oid: ObjectId | undefined,
    data: Buffer | undefined,
  ): void {
    this.#options.onEntry({
      number: this.#entries,
      offset,
      endOffset,
      type: header.type,
      sizeBytes: header.sizeBytes,
      crc32: crc,
      baseOffset: header.baseOffsetDistance === undefined ? undefined : offset - header.baseOffsetDistance,
      baseOid: header.baseOid,
      oid,
      data,
    });
    this.#entries++;
  }

  #hash(type: ObjectType, data: Buffer): ObjectId {
    const { createHasher, objectFormat } = this.#options;
    if (createHasher === undefined) return hashObject(objectFormat, type, data);
    const hasher = createHasher(type, data.length);
    hasher.update(data);
    return hasher.digest();
  }

  #hasher(type: ObjectType, sizeBytes: number): ObjectHasher {
    const { createHasher, objectFormat } = this.#options;
    if (createHasher !== undefined) return createHasher(type, sizeBytes);
    const hash = createObjectHash(objectFormat);
    hash.update(`${type} ${sizeBytes}\0`);
    return { update: (piece) => void hash.update(piece), digest: () => hash.digest("hex") };
  }

  #inflatedBy(sizeBytes: number): void {
    this.#inflatedBytes += sizeBytes;
    const { inflatedTotalBytesMax } = this.#options.limits;
    if (this.#inflatedBytes > inflatedTotalBytesMax) {
      throw exceeded("inflatedTotalBytesMax", "the pack inflated", inflatedTotalBytesMax, "bytes");
    }
  }

  /** Forgets the first `count` bytes of the window; what is left is copied, so that no caller's buffer is kept. */
  #consume(count: number): void {
    const body = this.#window.subarray(0, Math.min(count, this.#window.length));
    this.#trailerHash.update(body);
    this.#windowOffset += body.length;
    this.#window = Buffer.from(this.#window.subarray(body.length));
  }

  #readTrailer(): void {
    if (this.#window.length < this.#hashBytes) {
      this.#wantBytes = this.#hashBytes;
      return;
    }
    if (this.#window.length > this.#hashBytes) throw bad("bytes follow its trailer");
    const trailer = this.#window.toString("hex");
    if (this.#trailerHash.digest("hex") !== trailer) {
      throw new GitwharfError(
        "pack/checksum-mismatch",
        "the pack's trailer does not fit its bytes: it was damaged on the way",
      );
    }
    this.#trailer = trailer;
    this.#window = Buffer.alloc(0);
  }
}

function bad(why: string): GitwharfError {
  return new GitwharfError("pack/bad-pack", `the pack is malformed: ${why}`);
}

function exceeded(limit: keyof PackLimits, what: string, max: number, unit: string): GitwharfError {
  return new GitwharfError(
    "base/limit-exceeded",
    `${what} has more than ${max} ${unit}, the server's limit (${limit})`,
    {
      details: { limit, max },
    },
  );
}
