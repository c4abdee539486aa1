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

const FANOUT_BYTES = 1024;
const MAGIC = 0xff744f63;
/** Positions from a guess to where it is fenced in first. */
const FIRST_STEP = 8;

/** Resident and shared: 12 MiB for 400,000 objects. Lookups cost no allocation. */
export class PackIndex {
  readonly objectFormat: ObjectFormat;
  readonly objectCount: number;
  readonly version: 1 | 2;
  readonly bytes: SharedArrayBuffer;
  readonly #buffer: Buffer;
  readonly #fanout: Uint32Array;
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
    this.#fanout = new Uint32Array(257);
    for (let i = 0; i < 256; i++) {
      const count = buffer.readUInt32BE(head + i * 4);
      if (count < (this.#fanout[i] as number)) throw bad("its fan-out table is not in order");
      this.#fanout[i + 1] = count;
    }
    const n = this.#fanout[256] as number;
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
    const first = Number.parseInt(oid.slice(0, 2), 16);
    let low = this.#fanout[first] as number;
    let high = this.#fanout[first + 1] as number;
    if (low >= high) return -1;
    const want = Number.parseInt(oid.slice(2, 10), 16);
    const b = this.#buffer;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const at = this.#oids + middle * this.#stride;
      const have =
        (((b[at + 1] as number) << 24) |
          ((b[at + 2] as number) << 16) |
          ((b[at + 3] as number) << 8) |
          (b[at + 4] as number)) >>>
        0;
      if (have < want) low = middle + 1;
      else if (have > want) high = middle;
      else {
        const text = b.toString("hex", at, at + this.#hashBytes);
        if (text === oid) return middle;
        if (text < oid) low = middle + 1;
        else high = middle;
      }
    }
    return -1;
  }

  /** The same for a raw id at an offset of a buffer. */
  findBytes(raw: Uint8Array, offset: number): number {
    const first = raw[offset] as number;
    let low = this.#fanout[first] as number;
    let high = this.#fanout[first + 1] as number;
    if (low >= high) return -1;
    const b = this.#buffer;
    const h = this.#hashBytes;
    const oids = this.#oids;
    const stride = this.#stride;
    // Ids are uniform, so the place is guessed by proportion and fenced in by growing steps: few cache lines are
    // touched. Where ids were chosen to lie badly it is a search by doubling and halving.
    const want = threeBytes(raw, offset + 1);
    let guess = low + Math.floor(want * ((high - low) / 2 ** 24));
    let step = FIRST_STEP;
    const found = threeBytes(b, oids + guess * stride + 1);
    if (found < want) {
      low = guess + 1;
      for (; guess + step < high; step *= 2) {
        if (threeBytes(b, oids + (guess + step) * stride + 1) > want) {
          high = guess + step;
          break;
        }
        guess += step;
        low = threeBytes(b, oids + guess * stride + 1) < want ? guess + 1 : low;
      }
    } else if (found > want) {
      high = guess;
      for (; guess - step >= low; step *= 2) {
        guess -= step;
        if (threeBytes(b, oids + guess * stride + 1) < want) {
          low = guess + 1;
          break;
        }
        high = threeBytes(b, oids + guess * stride + 1) > want ? guess : high;
      }
    }
    while (low < high) {
      const middle = (low + high) >>> 1;
      const at = oids + middle * stride;
      let i = 1;
      while (i < h && b[at + i] === raw[offset + i]) i++;
      if (i === h) return middle;
      if ((b[at + i] as number) < (raw[offset + i] as number)) low = middle + 1;
      else high = middle;
    }
    return -1;
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

  /** True when the index's own checksum and the order of its ids hold. Reads all of it. */
  verifyChecksum(): boolean {
    const end = this.#buffer.length - this.#hashBytes;
    if (hashBytesOf(this.objectFormat, this.#buffer.subarray(0, end)) !== this.#buffer.toString("hex", end))
      return false;
    for (let p = 1; p < this.objectCount; p++) if (this.oidAt(p - 1) >= this.oidAt(p)) return false;
    return true;
  }
}

function threeBytes(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 16) | ((bytes[at + 1] as number) << 8) | (bytes[at + 2] as number);
}

function bad(why: string): GitwharfError {
  return new GitwharfError("pack/bad-index", `a pack index cannot be used: ${why}`);
}
