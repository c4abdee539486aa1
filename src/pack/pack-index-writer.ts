/**
 * Writes pack indexes of version 2, byte for byte as `git index-pack` does.
 * Specification: gitformat-pack; the layout is in `pack-index.ts`.
 */
import { hashBytes, type ObjectFormat } from "../object/object-format.js";
import { hashBytesOf } from "../object/object-id.js";

export interface PackIndexInput {
  readonly objectFormat: ObjectFormat;
  /** n raw ids, in any order (usually that of the pack). */
  readonly oids: Uint8Array;
  /** n offsets in the pack. */
  readonly offsets: ArrayLike<number>;
  readonly crc32s: Uint32Array;
  /** The pack's trailer, hexadecimal. */
  readonly packTrailer: string;
}

/**
 * @returns the file, and `order`: which input stands at each position of the index. Equal ids keep their input
 *   order, as in git.
 */
export function formatPackIndex(input: PackIndexInput): {
  readonly bytes: SharedArrayBuffer;
  readonly order: Uint32Array;
} {
  const { objectFormat, oids, offsets, crc32s } = input;
  const h = hashBytes(objectFormat);
  const n = crc32s.length;
  const order = sortOids(oids, n, h);
  let largeCount = 0;
  for (let i = 0; i < n; i++) if ((offsets[i] as number) >= 0x80000000) largeCount++;
  const bytes = new SharedArrayBuffer(8 + 1024 + n * (h + 8) + largeCount * 8 + 2 * h);
  const out = Buffer.from(bytes);
  out.writeUInt32BE(0xff744f63, 0);
  out.writeUInt32BE(2, 4);
  let at = 8;
  for (let byte = 0, i = 0; byte < 256; byte++, at += 4) {
    while (i < n && oids[(order[i] as number) * h] === byte) i++;
    out.writeUInt32BE(i, at);
  }
  for (let i = 0; i < n; i++, at += h) {
    const from = (order[i] as number) * h;
    for (let k = 0; k < h; k++) out[at + k] = oids[from + k] as number;
  }
  for (let i = 0; i < n; i++, at += 4) out.writeUInt32BE(crc32s[order[i] as number] as number, at);
  let large = at + n * 4;
  let largeNumber = 0;
  for (let i = 0; i < n; i++, at += 4) {
    const offset = offsets[order[i] as number] as number;
    if (offset < 0x80000000) out.writeUInt32BE(offset, at);
    else {
      out.writeUInt32BE(0x80000000 + largeNumber++, at);
      out.writeUInt32BE(Math.floor(offset / 2 ** 32), large);
      out.writeUInt32BE(offset % 2 ** 32, large + 4);
      large += 8;
    }
  }
  out.write(input.packTrailer, large, "hex");
  out.write(hashBytesOf(objectFormat, out.subarray(0, large + h)), large + h, "hex");
  return { bytes, order };
}

/** Which of n raw ids comes at each place. Radix sort on the first three bytes, then insertion sort in the tiny groups that are left; stable. */
export function sortOids(oids: Uint8Array, n: number, h: number): Uint32Array {
  let order = new Uint32Array(n);
  for (let i = 0; i < n; i++) order[i] = i;
  let other = new Uint32Array(n);
  for (let digit = 2; digit >= 0; digit--) {
    const starts = new Uint32Array(257);
    for (let i = 0; i < n; i++) {
      const bucket = (oids[i * h + digit] as number) + 1;
      starts[bucket] = (starts[bucket] as number) + 1;
    }
    for (let b = 0; b < 256; b++) starts[b + 1] = (starts[b + 1] as number) + (starts[b] as number);
    for (let i = 0; i < n; i++) {
      const item = order[i] as number;
      const bucket = oids[item * h + digit] as number;
      const place = starts[bucket] as number;
      other[place] = item;
      starts[bucket] = place + 1;
    }
    [order, other] = [other, order];
  }
  for (let i = 1; i < n; i++) {
    const item = order[i] as number;
    let j = i - 1;
    while (j >= 0 && compare(oids, h, order[j] as number, item) > 0) {
      order[j + 1] = order[j] as number;
      j--;
    }
    order[j + 1] = item;
  }
  return order;
}

function compare(oids: Uint8Array, h: number, a: number, b: number): number {
  for (let k = 0; k < h; k++) {
    const difference = (oids[a * h + k] as number) - (oids[b * h + k] as number);
    if (difference !== 0) return difference;
  }
  return 0;
}
