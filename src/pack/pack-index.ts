/**
 * Pack index (`.idx`), versions 1 and 2: object id → offset in the pack.
 * Specification: gitformat-pack, "pack-*.idx files have the following format".
 *
 *     OFFSET   SIZE         MEANING (version 2; n objects, h bytes an id)
 *     0        4            ff 74 4f 63
 *     4        4            version, 2
 *     8        1024         fan-out: how many ids begin with a byte ≤ i
 *     1032     n·h          ids, sorted
 *     …        n·4          CRC-32 of each entry's packed bytes
 *     …        n·4          offset, or 2^31 + a position in the next table
 *     …        m·8          offsets from 2^31 up
 *     …        h            the pack's trailer
 *     …        h            hash of all the above
 */
import { GitwharfError } from "../base/errors.js";
import { hashBytes, type ObjectFormat } from "../object/object-format.js";
import { hashBytesOf, type ObjectId } from "../object/object-id.js";
import { FANOUT_BYTES, readFanout, SortedIds } from "./sorted-ids.js";

const MAGIC = 0xff744f63;

/** Resident and shared: 12 MiB for 400,000 objects. Lookups cost no allocation. */
export class PackIndex {
  readonly objectFormat: ObjectFormat;
  readonly objectCount: number;
  readonly version: 1 | 2;
  readonly bytes: SharedArrayBuffer;
  readonly #buffer: Buffer;
  readonly #ids: SortedIds;
  readonly #hashBytes: number;
  /** Where the id of position 0 begins, and the distance from one id to the next. */
  readonly #oids: number;
  readonly #stride: number;
  readonly #crcs: number;
  readonly #offsets: number;
  readonly #largeOffsets: number;
  readonly #largeCount: number;

  private constructor(bytes: SharedArrayBuffer, format: ObjectFormat) {
    const buffer = Buffer.from(bytes);
    const h = hashBytes(format);
    this.bytes = bytes;
    this.#buffer = buffer;
    this.objectFormat = format;
    this.#hashBytes = h;
    this.version = buffer.length >= 8 && buffer.readUInt32BE(0) === MAGIC ? 2 : 1;
    const head = this.version === 2 ? 8 : 0;
    if (this.version === 2 && buffer.readUInt32BE(4) !== 2) throw bad(`version ${buffer.readUInt32BE(4)}`);
    if (buffer.length < head + FANOUT_BYTES + 2 * h) throw bad("it is too short");
    const fanout = readFanout(buffer, head);
    if (fanout === undefined) throw bad("its fan-out table is not in order");
    const n = fanout[256] as number;
    this.objectCount = n;
    const tables = head + FANOUT_BYTES;
    if (this.version === 1) {
      this.#stride = 4 + h;
      this.#oids = tables + 4;
      this.#crcs = -1;
      this.#offsets = tables;
      this.#largeOffsets = -1;
      this.#largeCount = 0;
      if (buffer.length !== tables + n * this.#stride + 2 * h)
        throw bad("its size does not fit its object count");
    } else {
      this.#stride = h;
      this.#oids = tables;
      this.#crcs = tables + n * h;
      this.#offsets = this.#crcs + n * 4;
      this.#largeOffsets = this.#offsets + n * 4;
      this.#largeCount = (buffer.length - 2 * h - this.#largeOffsets) / 8;
      if (!Number.isInteger(this.#largeCount) || this.#largeCount < 0 || this.#largeCount > n) {
        throw bad("its size does not fit its object count");
      }
    }
    this.#ids = new SortedIds({
      bytes: buffer,
      fanout,
      start: this.#oids,
      stride: this.#stride,
      hashBytes: h,
    });
  }

  /**
   * Checks the layout, not the checksum (`verifyChecksum` does).
   * @throws pack/bad-index
   */
  static parse(bytes: SharedArrayBuffer, format: ObjectFormat): PackIndex {
    return new PackIndex(bytes, format);
  }

  /** Position of an object, −1 when it is not in the pack. */
  find(oid: ObjectId): number {
    return this.#ids.find(oid);
  }

  /** The same for a raw id at an offset of a buffer. */
  findBytes(raw: Uint8Array, offset: number): number {
    return this.#ids.findBytes(raw, offset);
  }

  /** Positions whose ids begin with these hexadecimal digits (4 or more): [start, end). */
  findPrefix(prefix: string): { readonly start: number; readonly end: number } {
    const bound = (target: string): number => {
      let low = 0;
      let high = this.objectCount;
      while (low < high) {
        const middle = (low + high) >>> 1;
        if (this.oidAt(middle) < target) low = middle + 1;
        else high = middle;
      }
      return low;
    };
    return { start: bound(prefix), end: bound(`${prefix}g`) };
  }

  oidAt(position: number): ObjectId {
    const at = this.#oids + position * this.#stride;
    return this.#buffer.toString("hex", at, at + this.#hashBytes);
  }

  /** True when the object at a position has this raw id. */
  hasOidAt(position: number, raw: Uint8Array, offset: number): boolean {
    const b = this.#buffer;
    const at = this.#oids + position * this.#stride;
    for (let i = 0; i < this.#hashBytes; i++) if (b[at + i] !== raw[offset + i]) return false;
    return true;
  }

  copyOid(position: number, target: Uint8Array, targetOffset: number): void {
    const at = this.#oids + position * this.#stride;
    for (let i = 0; i < this.#hashBytes; i++) target[targetOffset + i] = this.#buffer[at + i] as number;
  }

  /** Bytes from the pack's beginning. @throws pack/bad-index */
  offsetAt(position: number): number {
    if (this.version === 1) return this.#buffer.readUInt32BE(this.#offsets + position * this.#stride);
    const value = this.#buffer.readUInt32BE(this.#offsets + position * 4);
    if (value < 0x80000000) return value;
    const large = value - 0x80000000;
    if (large >= this.#largeCount) throw bad("an offset points outside of it");
    const at = this.#largeOffsets + large * 8;
    return this.#buffer.readUInt32BE(at) * 2 ** 32 + this.#buffer.readUInt32BE(at + 4);
  }

  /** CRC-32 of the entry as it is packed; undefined in version 1. */
  crc32At(position: number): number | undefined {
    return this.#crcs < 0 ? undefined : this.#buffer.readUInt32BE(this.#crcs + position * 4);
  }

  /** The pack's own checksum, hexadecimal. */
  get packTrailer(): string {
    const end = this.#buffer.length - this.#hashBytes;
    return this.#buffer.toString("hex", end - this.#hashBytes, end);
  }

  /** See `BitmappedIndex`. */
  get bitmapKey(): string {
    return this.packTrailer;
  }

  /** True when the index's own checksum and the order of its ids hold. Reads all of it. */
  verifyChecksum(): boolean {
    const end = this.#buffer.length - this.#hashBytes;
    if (hashBytesOf(this.objectFormat, this.#buffer.subarray(0, end)) !== this.#buffer.toString("hex", end))
      return false;
    for (let p = 1; p < this.objectCount; p++) if (this.oidAt(p - 1) >= this.oidAt(p)) return false;
    return true;
  }
}

function bad(why: string): GitwharfError {
  return new GitwharfError("pack/bad-index", `a pack index cannot be used: ${why}`);
}
