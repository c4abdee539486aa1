/**
 * Multi-pack-index (`multi-pack-index`), versions 1 and 2: object id → pack and offset, for many packs at once.
 * One file; layers of an incremental one are not read. Specification: gitformat-pack, "multi-pack-index (MIDX) files".
 *
 *     OFFSET  SIZE      MEANING (n objects, h bytes an id)
 *     0       4         "MIDX"
 *     4       4         version 1 or 2, hash (1 sha1, 2 sha256), chunks c, files below this one (0)
 *     8       4         how many packs
 *     12      (c+1)·12  chunk ids and offsets
 *     …       PNAM      names of the packs' indexes, each ended by a NUL
 *     …       OIDF      1024: fan-out
 *     …       OIDL      n·h: ids, sorted
 *     …       OOFF      n·8: number of the pack; offset, or 2^31 + a position in LOFF where there is a LOFF
 *     …       LOFF      m·8: offsets from 2^31 up; absent when all are below 2^32
 *     …       RIDX      n·4: positions in the order of bits: objects of the preferred pack first, then those of the
 *                       others by number, each in the order of offsets; where there are bitmaps
 *     …       BTMP      8 a pack: its first bit, and how many; where there are bitmaps. Not read
 *     …       h         hash of all the above
 */
import { GitwharfError } from "../base/errors.js";
import { othersTurn } from "../base/others-turn.js";
import { hashBytes, type ObjectFormat } from "../object/object-format.js";
import { hashBytesOf, type ObjectId } from "../object/object-id.js";
import { FANOUT_BYTES, readFanout, SortedIds } from "./sorted-ids.js";

const HEAD_BYTES = 12;
const CHUNK_ROW_BYTES = 12;
const LARGE = 0x80000000;
/** Some hundred microseconds. */
const ROWS_A_TURN = 16_384;
/** `pack-<hex>.idx`: nothing that leads out of the directory. */
const PACK_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]*\.(?:idx|pack)$/;

interface Chunk {
  readonly start: number;
  readonly end: number;
}

/** Resident and shared: 28 bytes an object (sha1). */
export class MultiPackIndex {
  readonly objectFormat: ObjectFormat;
  readonly objectCount: number;
  readonly version: 1 | 2;
  readonly bytes: SharedArrayBuffer;
  /** By the packs' numbers, without ending: `pack-<hex>`. */
  readonly packNames: readonly string[];
  readonly #buffer: Buffer;
  readonly #fanout: Uint32Array;
  readonly #ids: SortedIds;
  readonly #oids: Chunk;
  readonly #offsets: Chunk;
  readonly #largeOffsets: Chunk | undefined;
  readonly #bits: Chunk | undefined;
  readonly #hashBytes: number;

  private constructor(bytes: SharedArrayBuffer, format: ObjectFormat) {
    const buffer = Buffer.from(bytes);
    const h = hashBytes(format);
    this.bytes = bytes;
    this.#buffer = buffer;
    this.objectFormat = format;
    this.#hashBytes = h;
    if (buffer.length < HEAD_BYTES + CHUNK_ROW_BYTES + h) throw bad("it is too short");
    if (buffer.toString("latin1", 0, 4) !== "MIDX") throw bad("it does not begin as one does");
    const version = buffer[4];
    if (version !== 1 && version !== 2) throw bad(`its version ${version} is not known`);
    this.version = version;
    if (buffer[5] !== (format === "sha1" ? 1 : 2)) throw bad("it is for another object format");
    if (buffer[7] !== 0) throw bad("it is a layer upon others");
    const chunks = readChunks(buffer, buffer[6] as number, h);
    this.packNames = readNames(buffer, chunkOf(chunks, "PNAM"), buffer.readUInt32BE(8), version);
    const fanoutChunk = chunkOf(chunks, "OIDF");
    this.#oids = chunkOf(chunks, "OIDL");
    this.#offsets = chunkOf(chunks, "OOFF");
    this.#largeOffsets = chunks.get("LOFF");
    const fanout = sizeOf(fanoutChunk) === FANOUT_BYTES ? readFanout(buffer, fanoutChunk.start) : undefined;
    if (fanout === undefined) throw bad("its fan-out table is not in order");
    this.objectCount = fanout[256] as number;
    if (sizeOf(this.#oids) !== this.objectCount * h || sizeOf(this.#offsets) !== this.objectCount * 8) {
      throw bad("its size does not fit its object count");
    }
    if (this.#largeOffsets !== undefined && sizeOf(this.#largeOffsets) % 8 !== 0) {
      throw bad("its table of large offsets is not whole");
    }
    const bits = chunks.get("RIDX");
    this.#bits = bits !== undefined && sizeOf(bits) === this.objectCount * 4 ? bits : undefined;
    this.#fanout = fanout;
    this.#ids = new SortedIds({ bytes: buffer, fanout, start: this.#oids.start, stride: h, hashBytes: h });
  }

  /**
   * Checks everything but the checksum and what only the packs can tell: an object that such a file holds is found.
   * @throws pack/bad-index
   */
  static parse(bytes: SharedArrayBuffer, format: ObjectFormat): MultiPackIndex {
    const index = new MultiPackIndex(bytes, format);
    index.#checkRows(0, index.objectCount);
    return index;
  }

  /** The same in steps between which others have their turn: it takes tens of milliseconds a million objects. */
  static async parseInTurns(bytes: SharedArrayBuffer, format: ObjectFormat): Promise<MultiPackIndex> {
    const index = new MultiPackIndex(bytes, format);
    for (let from = 0; from < index.objectCount; from += ROWS_A_TURN) {
      if (from > 0) await othersTurn();
      index.#checkRows(from, Math.min(index.objectCount, from + ROWS_A_TURN));
    }
    return index;
  }

  /** Opens once more what `parse` took, in another thread, without looking at every row. @throws pack/bad-index */
  static reopen(bytes: SharedArrayBuffer, format: ObjectFormat): MultiPackIndex {
    return new MultiPackIndex(bytes, format);
  }

  /** Position of an object, −1 when it is in none of the packs. */
  find(oid: ObjectId): number {
    return this.#ids.find(oid);
  }

  /** The same for a raw id at an offset of a buffer. */
  findBytes(raw: Uint8Array, offset: number): number {
    return this.#ids.findBytes(raw, offset);
  }

  oidAt(position: number): ObjectId {
    const at = this.#oids.start + position * this.#hashBytes;
    return this.#buffer.toString("hex", at, at + this.#hashBytes);
  }

  /** Number of the pack (see `packNames`) that is to be asked for the object. */
  packAt(position: number): number {
    return this.#buffer.readUInt32BE(this.#offsets.start + position * 8);
  }

  /** Bytes from that pack's beginning. */
  offsetAt(position: number): number {
    const value = this.#buffer.readUInt32BE(this.#offsets.start + position * 8 + 4);
    if (this.#largeOffsets === undefined || value < LARGE) return value;
    const at = this.#largeOffsets.start + (value - LARGE) * 8;
    return this.#buffer.readUInt32BE(at) * 2 ** 32 + this.#buffer.readUInt32BE(at + 4);
  }

  /** True when the object at a position has this raw id. */
  hasOidAt(position: number, raw: Uint8Array, offset: number): boolean {
    const at = this.#oids.start + position * this.#hashBytes;
    for (let i = 0; i < this.#hashBytes; i++) if (this.#buffer[at + i] !== raw[offset + i]) return false;
    return true;
  }

  /** Whether it says in which order bitmaps have its objects. */
  get hasBitOrder(): boolean {
    return this.#bits !== undefined;
  }

  /** Position of the object that a bit of its bitmaps stands for, as it is written; only where there is an order. */
  positionAtBit(bit: number): number {
    return this.#buffer.readUInt32BE((this.#bits?.start ?? 0) + bit * 4);
  }

  /** Its own checksum, by which its bitmap is named and names it, hexadecimal. */
  get bitmapKey(): string {
    return this.#buffer.toString("hex", this.#buffer.length - this.#hashBytes);
  }

  /** True when its own checksum holds. Reads all of it. */
  verifyChecksum(): boolean {
    const end = this.#buffer.length - this.#hashBytes;
    return (
      hashBytesOf(this.objectFormat, this.#buffer.subarray(0, end)) === this.#buffer.toString("hex", end)
    );
  }

  #checkRows(from: number, to: number): void {
    const b = this.#buffer;
    const h = this.#hashBytes;
    const fanout = this.#fanout;
    const packCount = this.packNames.length;
    const largeCount = this.#largeOffsets === undefined ? 2 ** 31 : sizeOf(this.#largeOffsets) / 8;
    let id = this.#oids.start + from * h;
    let row = this.#offsets.start + from * 8;
    let last = from === 0 ? -1 : b.readUInt32BE(id - h);
    for (let position = from; position < to; position++, id += h, row += 8) {
      const first = b[id] as number;
      if (position < (fanout[first] as number) || position >= (fanout[first + 1] as number)) {
        throw bad("its fan-out does not fit its ids");
      }
      const beginning = b.readUInt32BE(id);
      if (beginning < last || (beginning === last && b.compare(b, id - h, id, id, id + h) <= 0)) {
        throw bad("its ids are not in order");
      }
      last = beginning;
      if (b.readUInt32BE(row) >= packCount) throw bad("it names a pack that it does not list");
      if (b.readUInt32BE(row + 4) - LARGE >= largeCount) throw bad("an offset points outside of it");
    }
  }
}

/** Where its list of packs stands, by the first bytes of the file; undefined when they do not say. */
export function placeOfPackNames(head: Buffer): { readonly start: number; readonly end: number } | undefined {
  if (head.length < HEAD_BYTES || head.toString("latin1", 0, 4) !== "MIDX") return undefined;
  const count = head[6] as number;
  if (head.length < HEAD_BYTES + (count + 1) * CHUNK_ROW_BYTES) return undefined;
  for (let i = 0; i < count; i++) {
    const at = HEAD_BYTES + i * CHUNK_ROW_BYTES;
    if (head.toString("latin1", at, at + 4) !== "PNAM") continue;
    const start = Number(head.readBigUInt64BE(at + 4));
    const end = Number(head.readBigUInt64BE(at + 16));
    return end < start ? undefined : { start, end };
  }
  return undefined;
}

/** The packs in such a list, without ending. */
export function packNamesIn(list: Buffer): readonly string[] {
  const names = list.toString("latin1").split("\0");
  return names.filter((name) => name !== "").map((name) => name.replace(/\.(?:idx|pack)$/, ""));
}

function readChunks(buffer: Buffer, count: number, h: number): ReadonlyMap<string, Chunk> {
  const bodyStart = HEAD_BYTES + (count + 1) * CHUNK_ROW_BYTES;
  const bodyEnd = buffer.length - h;
  if (bodyStart > bodyEnd) throw bad("its list of chunks is not whole");
  const chunks = new Map<string, Chunk>();
  let previous = bodyStart;
  for (let i = 0; i <= count; i++) {
    const at = HEAD_BYTES + i * CHUNK_ROW_BYTES;
    const start = buffer.readUInt32BE(at + 4) * 2 ** 32 + buffer.readUInt32BE(at + 8);
    if (start < previous || start > bodyEnd) throw bad("a chunk lies outside of it");
    previous = start;
    if (i === count) {
      if (buffer.readUInt32BE(at) !== 0) throw bad("its list of chunks does not end");
      break;
    }
    const name = buffer.toString("latin1", at, at + 4);
    const end = buffer.readUInt32BE(at + 16) * 2 ** 32 + buffer.readUInt32BE(at + 20);
    if (chunks.has(name)) throw bad(`it has two chunks ${JSON.stringify(name)}`);
    chunks.set(name, { start, end });
  }
  return chunks;
}

function readNames(buffer: Buffer, chunk: Chunk, count: number, version: number): readonly string[] {
  const names: string[] = [];
  let at = chunk.start;
  let previous = "";
  for (let i = 0; i < count; i++) {
    const end = buffer.indexOf(0, at);
    if (end < 0 || end >= chunk.end) throw bad("its names of packs are not whole");
    const name = buffer.toString("latin1", at, end);
    if (!PACK_NAME.test(name)) throw bad(`it names a pack ${JSON.stringify(name.slice(0, 100))}`);
    if (version === 1 && name <= previous) throw bad("its names of packs are not in order");
    names.push(name.slice(0, name.lastIndexOf(".")));
    previous = name;
    at = end + 1;
  }
  return names;
}

function chunkOf(chunks: ReadonlyMap<string, Chunk>, name: string): Chunk {
  const chunk = chunks.get(name);
  if (chunk === undefined) throw bad(`its chunk ${name} is missing`);
  return chunk;
}

function sizeOf({ start, end }: Chunk): number {
  return end - start;
}

function bad(why: string): GitwharfError {
  return new GitwharfError("pack/bad-index", `a multi-pack-index cannot be used: ${why}`);
}
