/**
 * A table of sorted ids with a fan-out in front, as it stands in pack indexes and multi-pack-indexes.
 * Specification: gitformat-pack, "A 256-entry fan-out table".
 */
import type { ObjectId } from "../object/object-id.js";

export const FANOUT_BYTES = 1024;
/** Positions from a guess to where it is fenced in first. */
const FIRST_STEP = 8;

/** 257 numbers: how many ids begin with a byte < i. undefined when they are not in order. */
export function readFanout(bytes: Buffer, at: number): Uint32Array | undefined {
  const fanout = new Uint32Array(257);
  for (let i = 0; i < 256; i++) {
    const count = bytes.readUInt32BE(at + i * 4);
    if (count < (fanout[i] as number)) return undefined;
    fanout[i + 1] = count;
  }
  return fanout;
}

export interface SortedIdsPlace {
  readonly bytes: Buffer;
  readonly fanout: Uint32Array;
  /** Where the id of position 0 begins, and the distance from one id to the next. */
  readonly start: number;
  readonly stride: number;
  readonly hashBytes: number;
}

/** Lookups cost no allocation. Ids that are not in order are not all found, and nothing worse. */
export class SortedIds {
  readonly #bytes: Buffer;
  readonly #fanout: Uint32Array;
  readonly #start: number;
  readonly #stride: number;
  readonly #hashBytes: number;

  constructor(place: SortedIdsPlace) {
    this.#bytes = place.bytes;
    this.#fanout = place.fanout;
    this.#start = place.start;
    this.#stride = place.stride;
    this.#hashBytes = place.hashBytes;
  }

  /** Position of an id, −1 when it is not among them. */
  find(oid: ObjectId): number {
    const first = Number.parseInt(oid.slice(0, 2), 16);
    let low = this.#fanout[first] as number;
    let high = this.#fanout[first + 1] as number;
    if (low >= high) return -1;
    const want = Number.parseInt(oid.slice(2, 10), 16);
    const b = this.#bytes;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const at = this.#start + middle * this.#stride;
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
    const b = this.#bytes;
    const h = this.#hashBytes;
    const oids = this.#start;
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
}

function threeBytes(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 16) | ((bytes[at + 1] as number) << 8) | (bytes[at + 2] as number);
}
