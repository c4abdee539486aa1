/**
 * Writes a multi-pack-index of one file, byte for byte as `git multi-pack-index write` does, and for bitmaps with the
 * order of bits (RIDX) and the packs' parts of it (BTMP, which gits before 2.44 pass over).
 * Specification: gitformat-pack; the layout is in `multi-pack-index.ts`.
 *
 * Of an object in several packs the preferred pack's copy is listed, else that of the pack written last. Packs' ids are in
 * order already, so ids with the same first byte are taken out of all packs, sorted, and the next byte follows: beside the
 * file about 8 bytes an object are needed, and of bitmaps 20 for each of the largest pack.
 */
import { GitwharfError } from "../base/errors.js";
import { hashBytes, type ObjectFormat } from "../object/object-format.js";
import { hashBytesOf } from "../object/object-id.js";
import type { PackIndex } from "./pack-index.js";
import { sortOids } from "./pack-index-writer.js";
import { sortByOffset } from "./reverse-index.js";

const HEAD_BYTES = 12;
const CHUNK_ROW_BYTES = 12;
const LARGE = 0x80000000;

export interface ListedPack {
  /** `pack-<hex>`, without ending. */
  readonly name: string;
  readonly index: PackIndex;
  /** When the pack was written, in whole seconds. */
  readonly modifiedSeconds: number;
}

export interface MultiPackIndexInput {
  readonly objectFormat: ObjectFormat;
  /** At least one, in any order. */
  readonly packs: readonly ListedPack[];
  /** Set where bitmaps are to be made of it: the pack of which every object is listed, and has the first bits. */
  readonly preferred?: ListedPack | undefined;
}

/** @throws pack/bad-index when the ids of a pack are not in order */
export function formatMultiPackIndex(input: MultiPackIndexInput): SharedArrayBuffer {
  const { objectFormat, preferred } = input;
  const packs = [...input.packs].sort((a, b) => (`${a.name}.idx` < `${b.name}.idx` ? -1 : 1));
  const h = hashBytes(objectFormat);
  const listed = listObjects(packs, preferred, h);
  const { count, numbers, positions } = listed;
  const offsetOf = (row: number): number =>
    (packs[numbers[row] as number] as ListedPack).index.offsetAt(positions[row] as number);
  let largeCount = 0;
  let largest = 0;
  for (let row = 0; row < count; row++) {
    const offset = offsetOf(row);
    if (offset >= LARGE) largeCount++;
    if (offset > largest) largest = offset;
  }
  const hasLarge = largest >= 2 ** 32;
  const names = Buffer.from(packs.map(({ name }) => `${name}.idx\0`).join(""), "latin1");
  const { bytes, out, starts } = layOut(
    [
      { name: "PNAM", sizeBytes: Math.ceil(names.length / 4) * 4 },
      { name: "OIDF", sizeBytes: 1024 },
      { name: "OIDL", sizeBytes: count * h },
      { name: "OOFF", sizeBytes: count * 8 },
      ...(hasLarge ? [{ name: "LOFF", sizeBytes: largeCount * 8 }] : []),
      ...(preferred === undefined
        ? []
        : [
            { name: "RIDX", sizeBytes: count * 4 },
            { name: "BTMP", sizeBytes: packs.length * 8 },
          ]),
    ],
    { objectFormat, packCount: packs.length },
  );
  const start = (name: string): number => starts.get(name) ?? -1;
  out.set(names, start("PNAM"));
  let id = start("OIDL");
  let row8 = start("OOFF");
  let large = start("LOFF");
  let largeNumber = 0;
  for (let row = 0; row < count; row++, id += h, row8 += 8) {
    const number = numbers[row] as number;
    (packs[number] as ListedPack).index.copyOid(positions[row] as number, out, id);
    out.writeUInt32BE(number, row8);
    const offset = offsetOf(row);
    if (!hasLarge || offset < LARGE) out.writeUInt32BE(offset, row8 + 4);
    else {
      out.writeUInt32BE(LARGE + largeNumber++, row8 + 4);
      out.writeBigUInt64BE(BigInt(offset), large);
      large += 8;
    }
  }
  for (let byte = 0, at = start("OIDF"); byte < 256; byte++, at += 4)
    out.writeUInt32BE(listed.ends[byte] as number, at);
  if (preferred !== undefined) {
    const order = orderOfPacks(packs, preferred);
    writeBitOrder(out, { row: start("RIDX"), packs: start("BTMP") }, { listed, order, offsetOf });
  }
  out.write(hashBytesOf(objectFormat, out.subarray(0, out.length - h)), out.length - h, "hex");
  return bytes;
}

/** Rows in the order of ids: each object once. */
interface ListedObjects {
  readonly count: number;
  /** Of its pack. */
  readonly numbers: Uint32Array;
  /** In the index of that pack. */
  readonly positions: Uint32Array;
  /** By first byte: where the rows end that have it. */
  readonly ends: Uint32Array;
}

function listObjects(
  packs: readonly ListedPack[],
  preferred: ListedPack | undefined,
  h: number,
): ListedObjects {
  const total = packs.reduce((sum, { index }) => sum + index.objectCount, 0);
  const numbers = new Uint32Array(total);
  const positions = new Uint32Array(total);
  const ends = new Uint32Array(256);
  const byPreference = packs.map((_, number) => number);
  byPreference.sort((a, b) => {
    const [one, other] = [packs[a] as ListedPack, packs[b] as ListedPack];
    if (one === preferred || other === preferred) return one === preferred ? -1 : 1;
    return other.modifiedSeconds - one.modifiedSeconds || a - b;
  });
  const next = new Uint32Array(packs.length);
  /** Objects whose id begins with the byte at hand, those of preferred packs first. */
  let ids = Buffer.alloc(1024 * h);
  let sources = new Uint32Array(1024);
  let places = new Uint32Array(1024);
  let count = 0;
  for (let byte = 0; byte < 256; byte++) {
    let met = 0;
    for (const number of byPreference) {
      const { index } = packs[number] as ListedPack;
      let position = next[number] as number;
      for (; position < index.objectCount; position++) {
        if (met === sources.length) {
          ids = Buffer.concat([ids], ids.length * 2);
          sources = doubled(sources);
          places = doubled(places);
        }
        index.copyOid(position, ids, met * h);
        if (ids[met * h] !== byte) break;
        sources[met] = number;
        places[met++] = position;
      }
      next[number] = position;
    }
    const order = sortOids(ids, met, h);
    for (let i = 0; i < met; i++) {
      const at = order[i] as number;
      // The sort is stable: of equal ids the first is that of the pack that is preferred.
      if (
        i > 0 &&
        ids.compare(
          ids,
          at * h,
          at * h + h,
          (order[i - 1] as number) * h,
          ((order[i - 1] as number) + 1) * h,
        ) === 0
      )
        continue;
      numbers[count] = sources[at] as number;
      positions[count++] = places[at] as number;
    }
    ends[byte] = count;
  }
  for (const [number, { name, index }] of packs.entries()) {
    if (next[number] === index.objectCount) continue;
    throw new GitwharfError(
      "pack/bad-index",
      `the index of ${name} cannot be used: its ids are not in order`,
    );
  }
  return { count, numbers, positions, ends };
}

function doubled(from: Uint32Array): Uint32Array<ArrayBuffer> {
  const to = new Uint32Array(from.length * 2);
  to.set(from);
  return to;
}

/** Numbers of the packs in the order of their bits. */
function orderOfPacks(packs: readonly ListedPack[], preferred: ListedPack): number[] {
  const first = packs.indexOf(preferred);
  return [first, ...packs.keys()].filter((number, i) => i === 0 || number !== first);
}

function writeBitOrder(
  out: Buffer,
  starts: { readonly row: number; readonly packs: number },
  about: {
    readonly listed: ListedObjects;
    readonly order: readonly number[];
    readonly offsetOf: (row: number) => number;
  },
): void {
  const { listed, order, offsetOf } = about;
  const counts = new Uint32Array(order.length);
  for (let row = 0; row < listed.count; row++) {
    const number = listed.numbers[row] as number;
    counts[number] = (counts[number] as number) + 1;
  }
  // Rows by pack, and by id within each.
  const rows = new Uint32Array(listed.count);
  const ends = new Uint32Array(order.length);
  let first = 0;
  for (const number of order) {
    ends[number] = first;
    first += counts[number] as number;
  }
  for (let row = 0; row < listed.count; row++) {
    const number = listed.numbers[row] as number;
    rows[ends[number] as number] = row;
    ends[number] = (ends[number] as number) + 1;
  }
  let bit = 0;
  for (const number of order) {
    const count = counts[number] as number;
    const offsets = new Float64Array(count);
    for (let i = 0; i < count; i++) offsets[i] = offsetOf(rows[bit + i] as number);
    for (const [i, nth] of sortByOffset(offsets).entries())
      out.writeUInt32BE(rows[bit + nth] as number, starts.row + (bit + i) * 4);
    out.writeUInt32BE(count === 0 ? 0 : bit, starts.packs + number * 8);
    out.writeUInt32BE(count, starts.packs + number * 8 + 4);
    bit += count;
  }
}

interface Chunk {
  readonly name: string;
  readonly sizeBytes: number;
}

/** Head and table of chunks. */
function layOut(
  chunks: readonly Chunk[],
  about: { readonly objectFormat: ObjectFormat; readonly packCount: number },
): { readonly bytes: SharedArrayBuffer; readonly out: Buffer; readonly starts: ReadonlyMap<string, number> } {
  const bodyStart = HEAD_BYTES + (chunks.length + 1) * CHUNK_ROW_BYTES;
  const bodyEnd = chunks.reduce((sum, { sizeBytes }) => sum + sizeBytes, bodyStart);
  const bytes = new SharedArrayBuffer(bodyEnd + hashBytes(about.objectFormat));
  const out = Buffer.from(bytes);
  out.write("MIDX", 0, "latin1");
  out[4] = 1;
  out[5] = about.objectFormat === "sha1" ? 1 : 2;
  out[6] = chunks.length;
  out.writeUInt32BE(about.packCount, 8);
  const starts = new Map<string, number>();
  let at = bodyStart;
  let row = HEAD_BYTES;
  for (const { name, sizeBytes } of chunks) {
    starts.set(name, at);
    out.write(name, row, "latin1");
    out.writeBigUInt64BE(BigInt(at), row + 4);
    at += sizeBytes;
    row += CHUNK_ROW_BYTES;
  }
  out.writeBigUInt64BE(BigInt(at), row + 4);
  return { bytes, out, starts };
}
