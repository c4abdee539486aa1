/**
 * A planned pack: which bytes it is made of, in order. Numbers and bytes only, so that it travels between threads
 * and can be kept without keeping anything open: a pack is named by its key, and bound to the open pack of a
 * snapshot when it is streamed.
 */
import type { ObjectFormat } from "../../object/object-format.js";
import type { ObjectId } from "../../object/object-id.js";

export interface PlanData {
  readonly objectFormat: ObjectFormat;
  /** Objects in the pack. */
  readonly objectCount: number;
  /** Those sent as deltas. */
  readonly deltaCount: number;
  /** Those copied as they are stored, and how many of them are deltas. */
  readonly reusedCount: number;
  readonly reusedDeltaCount: number;
  /** Bytes of the pack with header and trailer, without `deferred`. */
  readonly sizeBytes: number;
  readonly packKeys: readonly string[];
  /** Keys of packs that the other side gets elsewhere, whole: what is in them is not in this one. @default none */
  readonly elsewhere?: readonly string[];
  /** Identities of packs of which every entry is copied: in them bases stand first. */
  readonly wholePacks: readonly string[];
  /** Index into `packKeys`, or −1 for a run of `literals`. */
  readonly segmentPacks: Int32Array<ArrayBuffer>;
  /** Byte ranges [start, end) in the pack or in `literals`. */
  readonly segmentStarts: Float64Array<ArrayBuffer>;
  readonly segmentEnds: Float64Array<ArrayBuffer>;
  readonly literals: Uint8Array<ArrayBuffer>;
  /** Objects too large to be kept in a plan: deflated, whole, when the pack is streamed, behind all segments. */
  readonly deferred: readonly ObjectId[];
  /** The pack's checksum in hex, when it is known before streaming. */
  readonly trailer: string | undefined;
}

/** Bytes of memory that a plan holds. */
export function planDataBytes(plan: PlanData): number {
  return 512 + plan.segmentPacks.length * 20 + plan.literals.length + plan.deferred.length * 100;
}

/** Collects segments; neighbours that touch become one. */
export class SegmentBuilder {
  #packs = new Int32Array(256);
  #starts = new Float64Array(256);
  #ends = new Float64Array(256);
  #count = 0;
  #literals: Buffer = Buffer.allocUnsafe(1024);
  #literalLength = 0;
  /** Bytes so far. */
  position = 0;

  copy(pack: number, start: number, end: number): void {
    this.#add(pack, start, end);
  }

  literal(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#literals.set(bytes, this.#literalLength);
    this.#add(-1, this.#literalLength, this.#literalLength + bytes.length);
    this.#literalLength += bytes.length;
  }

  /** Room for a short literal to be written in place: call `commit` with what was used. */
  room(length: number): { readonly buffer: Buffer; readonly at: number } {
    this.#reserve(length);
    return { buffer: this.#literals, at: this.#literalLength };
  }

  commit(end: number): void {
    this.#add(-1, this.#literalLength, end);
    this.#literalLength = end;
  }

  finish(): Pick<PlanData, "segmentPacks" | "segmentStarts" | "segmentEnds" | "literals"> {
    return {
      segmentPacks: this.#packs.slice(0, this.#count),
      segmentStarts: this.#starts.slice(0, this.#count),
      segmentEnds: this.#ends.slice(0, this.#count),
      literals: new Uint8Array(this.#literals.subarray(0, this.#literalLength)),
    };
  }

  #add(pack: number, start: number, end: number): void {
    if (end === start) return;
    this.position += end - start;
    const last = this.#count - 1;
    if (last >= 0 && this.#packs[last] === pack && this.#ends[last] === start) {
      this.#ends[last] = end;
      return;
    }
    if (this.#count === this.#packs.length) this.#grow();
    this.#packs[this.#count] = pack;
    this.#starts[this.#count] = start;
    this.#ends[this.#count] = end;
    this.#count++;
  }

  #grow(): void {
    const size = this.#packs.length * 2;
    const packs = new Int32Array(size);
    const starts = new Float64Array(size);
    const ends = new Float64Array(size);
    packs.set(this.#packs);
    starts.set(this.#starts);
    ends.set(this.#ends);
    this.#packs = packs;
    this.#starts = starts;
    this.#ends = ends;
  }

  #reserve(length: number): void {
    const needed = this.#literalLength + length;
    if (needed <= this.#literals.length) return;
    const larger = Buffer.allocUnsafe(Math.max(needed, this.#literals.length * 2));
    this.#literals.copy(larger, 0, 0, this.#literalLength);
    this.#literals = larger;
  }
}
