/**
 * The objects of a pack in the order of their offsets: in memory (`PackOffsets`), and as git's `.rev` file.
 * Specification: gitformat-pack, "pack-*.rev files have the format".
 *
 *     OFFSET  SIZE   MEANING
 *     0       4      "RIDX"
 *     4       4      version, 1
 *     8       4      hash: 1 sha1, 2 sha256
 *     12      n·4    index positions, in the order of pack offsets
 *     …       h      the pack's trailer
 *     …       h      hash of all the above
 */
import { hashBytes, type ObjectFormat } from "../object/object-format.js";
import { hashBytesOf } from "../object/object-id.js";
import type { PackIndex } from "./pack-index.js";

const HEAD_BYTES = 12;

/** How long the `.rev` file of an index is. */
export function reverseIndexBytes(index: PackIndex): number {
  return HEAD_BYTES + index.objectCount * 4 + 2 * hashBytes(index.objectFormat);
}

/** A *rank* is a place in the order of offsets, 0-based. 12 bytes an object. */
export class PackOffsets {
  readonly objectCount: number;
  readonly #positions: Uint32Array;
  /** Offsets by rank, and one more: where the trailer begins. */
  readonly #offsets: Float64Array;

  private constructor(positions: Uint32Array, offsets: Float64Array) {
    this.objectCount = positions.length;
    this.#positions = positions;
    this.#offsets = offsets;
  }

  /** @param reverseIndex the `.rev` file, if there is one: unless it is right in all it says, it is passed over */
  static of(index: PackIndex, packSizeBytes: number, reverseIndex?: Buffer): PackOffsets {
    const read =
      reverseIndex === undefined ? undefined : PackOffsets.#read(reverseIndex, index, packSizeBytes);
    return read ?? PackOffsets.#sort(index, packSizeBytes);
  }

  /** undefined when the file does not go with the index. */
  static #read(file: Buffer, index: PackIndex, packSizeBytes: number): PackOffsets | undefined {
    const n = index.objectCount;
    if (!belongsTo(file, index)) return undefined;
    const positions = new Uint32Array(n);
    const offsets = new Float64Array(n + 1);
    let last = -1;
    for (let r = 0; r < n; r++) {
      const position = file.readUInt32BE(HEAD_BYTES + r * 4);
      if (position >= n) return undefined;
      const offset = index.offsetAt(position);
      // As many offsets as objects, each above the one before: every object is there, in the right place.
      if (offset <= last) return undefined;
      positions[r] = position;
      offsets[r] = offset;
      last = offset;
    }
    offsets[n] = packSizeBytes - hashBytes(index.objectFormat);
    return new PackOffsets(positions, offsets);
  }

  static #sort(index: PackIndex, packSizeBytes: number): PackOffsets {
    const n = index.objectCount;
    const unsorted = new Float64Array(n);
    for (let p = 0; p < n; p++) unsorted[p] = index.offsetAt(p);
    const positions = sortByOffset(unsorted);
    const offsets = new Float64Array(n + 1);
    for (let r = 0; r < n; r++) offsets[r] = unsorted[positions[r] as number] as number;
    offsets[n] = packSizeBytes - hashBytes(index.objectFormat);
    return new PackOffsets(positions, offsets);
  }

  /** Position in the index. */
  positionAtRank(rank: number): number {
    return this.#positions[rank] as number;
  }

  offsetAtRank(rank: number): number {
    return this.#offsets[rank] as number;
  }

  /** Where the entry ends: the next one's offset, or that of the trailer. */
  endOffsetOfRank(rank: number): number {
    return this.#offsets[rank + 1] as number;
  }

  /** −1 when no entry begins there. */
  rankOfOffset(offset: number): number {
    let low = 0;
    let high = this.objectCount;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#offsets[middle] as number) < offset) low = middle + 1;
      else high = middle;
    }
    return low < this.objectCount && this.#offsets[low] === offset ? low : -1;
  }
}

function belongsTo(file: Buffer, index: PackIndex): boolean {
  const trailer = HEAD_BYTES + index.objectCount * 4;
  return (
    file.length === reverseIndexBytes(index) &&
    file.toString("latin1", 0, 4) === "RIDX" &&
    file.readUInt32BE(4) === 1 &&
    file.readUInt32BE(8) === hashNumber(index.objectFormat) &&
    file.toString("hex", trailer, trailer + hashBytes(index.objectFormat)) === index.packTrailer
  );
}

function hashNumber(format: ObjectFormat): number {
  return format === "sha1" ? 1 : 2;
}

/** Which of some offsets comes at each place. Radix sort in steps of 16 bits, as many as the largest one needs. */
export function sortByOffset(offsets: Float64Array): Uint32Array {
  const n = offsets.length;
  let order = new Uint32Array(n);
  let max = 0;
  for (let i = 0; i < n; i++) {
    order[i] = i;
    max = Math.max(max, offsets[i] as number);
  }
  let other = new Uint32Array(n);
  const counts = new Uint32Array(65_537);
  for (let scale = 1; scale <= max; scale *= 65_536) {
    counts.fill(0);
    for (let i = 0; i < n; i++) {
      const digit = Math.floor((offsets[i] as number) / scale) % 65_536;
      counts[digit + 1] = (counts[digit + 1] as number) + 1;
    }
    for (let d = 0; d < 65_536; d++) counts[d + 1] = (counts[d + 1] as number) + (counts[d] as number);
    for (let i = 0; i < n; i++) {
      const item = order[i] as number;
      const digit = Math.floor((offsets[item] as number) / scale) % 65_536;
      const place = counts[digit] as number;
      other[place] = item;
      counts[digit] = place + 1;
    }
    [order, other] = [other, order];
  }
  return order;
}

/** The `.rev` file that goes with an index. */
export function formatReverseIndex(index: PackIndex, packSizeBytes: number): Buffer {
  const format: ObjectFormat = index.objectFormat;
  const h = hashBytes(format);
  const offsets = PackOffsets.of(index, packSizeBytes);
  const n = index.objectCount;
  const out = Buffer.allocUnsafe(reverseIndexBytes(index));
  out.write("RIDX", 0, "latin1");
  out.writeUInt32BE(1, 4);
  out.writeUInt32BE(hashNumber(format), 8);
  for (let r = 0; r < n; r++) out.writeUInt32BE(offsets.positionAtRank(r), HEAD_BYTES + r * 4);
  const at = HEAD_BYTES + n * 4;
  out.write(index.packTrailer, at, "hex");
  out.write(hashBytesOf(format, out.subarray(0, at + h)), at + h, "hex");
  return out;
}
