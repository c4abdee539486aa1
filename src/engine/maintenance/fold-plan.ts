/**
 * What one pack looks like that holds every object of several packs once: which stored entry stands for each object,
 * in which order, at which offset. Entries are copied as they are stored, but for the distance to a delta's base.
 *
 * Of an object that stands in several packs the copy of the oldest is taken. Its base stands in the same pack or, as
 * taken, in an older one: so chains end, and a push that sent a delta does not turn into a whole object because a later
 * push had to bring its own copy of the base. Where a chain becomes too long this way, the whole copy is taken.
 *
 * Order: commits, tags, trees, blobs, as git writes them; in each the older packs first, bases before their deltas.
 */
import { GitwharfError } from "../../base/errors.js";
import { isPromise } from "../../base/maybe-promise.js";
import { hashBytes, type ObjectFormat } from "../../object/object-format.js";
import {
  ENTRY_HEADER_BYTES_MAX,
  type EntryHeader,
  formatEntryHeader,
  OFS_DELTA,
  parseEntryHeader,
  REF_DELTA,
} from "../../pack/entry-header.js";
import type { Pack } from "../../pack/pack.js";
import { PACK_HEADER_BYTES } from "../../pack/pack-writer.js";

/** As git's `pack.depth`. */
const CHAIN_LENGTH_MAX = 50;
const TYPE_ORDER = [1, 4, 2, 3];
const NONE = -1;
/** Base of an entry that is copied as it is. */
export const AS_STORED = -1;

/** Columns over shared memory, one row an object, in the order of the new pack. */
export interface FoldPlan {
  readonly objectFormat: ObjectFormat;
  readonly objectCount: number;
  /** Raw ids. */
  readonly oids: Uint8Array;
  /** Number of the pack that the entry comes from. */
  readonly sources: Int32Array;
  /** The entry's bytes in that pack: [start, end). */
  readonly starts: Float64Array;
  readonly ends: Float64Array;
  /** Row of the base to which the entry gets a new distance, or `AS_STORED`. */
  readonly bases: Int32Array;
  /** In the new pack, and one more: where the trailer begins. */
  readonly offsets: Float64Array;
  /** Of the stored bytes; who copies puts those of the new bytes in their place. */
  readonly crc32s: Uint32Array;
}

/** Whether an object is to be in the new pack, by pack and position in its index. The same for all copies of one. */
export type FoldMembers = (packNumber: number, position: number) => boolean;

/**
 * @param packs oldest first; their bytes must be readable at once
 * @param isMember @default all are
 * @returns undefined when a delta's base is no member: then not all entries can be copied
 * @throws object/corrupt, storage/io
 */
export function planFold(
  packs: readonly Pack[],
  objectFormat: ObjectFormat,
  isMember?: FoldMembers,
): FoldPlan | undefined {
  const draft = new Draft(packs, objectFormat);
  draft.collect(isMember);
  if (!draft.readHeads(isMember !== undefined)) return undefined;
  draft.settleChains();
  return draft.layOut();
}

/** Rows here are in the order in which objects were met. */
class Draft {
  readonly #packs: readonly Pack[];
  readonly #format: ObjectFormat;
  readonly #hashBytes: number;
  /** Row + 1; 0 = empty. At most half full. */
  readonly #slots: Int32Array;
  readonly #oids: Uint8Array;
  readonly #sources: Int32Array;
  readonly #ranks: Int32Array;
  /** A copy that is not a delta, in another pack. */
  readonly #wholeSources: Int32Array;
  readonly #wholeRanks: Int32Array;
  /** As stored; once chains are settled, of the object itself. */
  readonly #types: Uint8Array;
  readonly #bases: Int32Array;
  #count = 0;

  constructor(packs: readonly Pack[], format: ObjectFormat) {
    const total = packs.reduce((sum, { objectCount }) => sum + objectCount, 0);
    let size = 1024;
    while (size < total * 2) size *= 2;
    this.#packs = packs;
    this.#format = format;
    this.#hashBytes = hashBytes(format);
    this.#slots = new Int32Array(size);
    this.#oids = new Uint8Array(total * this.#hashBytes);
    this.#sources = new Int32Array(total);
    this.#ranks = new Int32Array(total);
    this.#wholeSources = new Int32Array(total).fill(NONE);
    this.#wholeRanks = new Int32Array(total);
    this.#types = new Uint8Array(total);
    this.#bases = new Int32Array(total).fill(NONE);
  }

  collect(isMember: FoldMembers | undefined): void {
    const id = Buffer.alloc(this.#hashBytes);
    for (const [k, pack] of this.#packs.entries()) {
      const { offsets, index } = pack;
      for (let rank = 0; rank < pack.objectCount; rank++) {
        const position = offsets.positionAtRank(rank);
        if (isMember?.(k, position) === false) continue;
        index.copyOid(position, id, 0);
        const row = this.#find(id);
        if (row < 0) this.#add(id, k, rank);
        else if (this.#wholeSources[row] === NONE && this.#headAt(k, rank).type < OFS_DELTA) {
          this.#wholeSources[row] = k;
          this.#wholeRanks[row] = rank;
        }
      }
    }
  }

  /** @param mayLack bases may be left out: then the answer is false */
  readHeads(mayLack: boolean): boolean {
    const id = Buffer.alloc(this.#hashBytes);
    for (let row = 0; row < this.#count; row++) {
      const k = this.#sources[row] as number;
      const head = this.#headAt(k, this.#ranks[row] as number);
      this.#types[row] = head.type;
      if (head.type < OFS_DELTA) continue;
      const { offsets, index } = this.#packs[k] as Pack;
      if (head.baseOid !== undefined) id.write(head.baseOid, "hex");
      else {
        const start = offsets.offsetAtRank(this.#ranks[row] as number);
        const rank = offsets.rankOfOffset(start - (head.baseOffsetDistance ?? 0));
        if (rank < 0) throw this.#corrupt(row, "its base is not an entry of its pack");
        index.copyOid(offsets.positionAtRank(rank), id, 0);
      }
      const base = this.#find(id);
      if (base < 0 && mayLack) return false;
      if (base < 0) throw this.#corrupt(row, "the base of its delta is not in its pack");
      this.#bases[row] = base;
    }
    return true;
  }

  /** Types of deltas, and an end to chains that are too long. */
  settleChains(): void {
    const depths = new Int32Array(this.#count).fill(NONE);
    const chain: number[] = [];
    for (let first = 0; first < this.#count; first++) {
      let row = first;
      while (depths[row] === NONE && this.#bases[row] !== NONE) {
        chain.push(row);
        // A chain that is longer than there are objects leads in a circle.
        if (chain.length > this.#count) throw this.#corrupt(row, "its delta leads back to itself");
        row = this.#bases[row] as number;
      }
      if (depths[row] === NONE) depths[row] = 0;
      for (let at = chain.pop(); at !== undefined; at = chain.pop()) {
        const base = this.#bases[at] as number;
        const depth = (depths[base] as number) + 1;
        this.#types[at] = this.#types[base] as number;
        if (depth > CHAIN_LENGTH_MAX && this.#wholeSources[at] !== NONE) this.#takeWhole(at);
        depths[at] = this.#bases[at] === NONE ? 0 : depth;
      }
    }
  }

  layOut(): FoldPlan {
    const n = this.#count;
    const h = this.#hashBytes;
    const plan = emptyPlan(this.#format, n);
    const places = new Int32Array(n);
    let place = 0;
    for (const type of TYPE_ORDER)
      for (let row = 0; row < n; row++) if (this.#types[row] === type) places[row] = place++;
    if (place !== n) throw new GitwharfError("object/corrupt", "a folded pack has an entry without a type");
    const rows = new Int32Array(n);
    for (let row = 0; row < n; row++) rows[places[row] as number] = row;
    let at = PACK_HEADER_BYTES;
    for (let i = 0; i < n; i++) {
      const row = rows[i] as number;
      const k = this.#sources[row] as number;
      const rank = this.#ranks[row] as number;
      const { offsets, index } = this.#packs[k] as Pack;
      const start = offsets.offsetAtRank(rank);
      const end = offsets.endOffsetOfRank(rank);
      plan.oids.set(this.#oids.subarray(row * h, (row + 1) * h), i * h);
      plan.sources[i] = k;
      plan.starts[i] = start;
      plan.ends[i] = end;
      plan.crc32s[i] = index.crc32At(offsets.positionAtRank(rank)) as number;
      plan.offsets[i] = at;
      at += end - start;
      const base = this.#bases[row] === NONE ? NONE : (places[this.#bases[row] as number] as number);
      if (base === NONE) continue;
      const head = this.#headAt(k, rank);
      if (base < i) {
        plan.bases[i] = base;
        const distance = (plan.offsets[i] as number) - (plan.offsets[base] as number);
        at += formatEntryHeader(OFS_DELTA, head.sizeBytes, distance).length - head.headerLength;
      } else if (head.type !== REF_DELTA) throw this.#corrupt(row, "its base comes after it");
    }
    plan.offsets[n] = at;
    return plan;
  }

  #takeWhole(row: number): void {
    this.#sources[row] = this.#wholeSources[row] as number;
    this.#ranks[row] = this.#wholeRanks[row] as number;
    this.#bases[row] = NONE;
  }

  /** The row of an id, −1 when it was not met. */
  #find(id: Uint8Array): number {
    const mask = this.#slots.length - 1;
    for (let at = spread(id) & mask; ; at = (at + 1) & mask) {
      const row = (this.#slots[at] as number) - 1;
      if (row < 0 || this.#isAt(row, id)) return row;
    }
  }

  #add(id: Uint8Array, k: number, rank: number): void {
    const mask = this.#slots.length - 1;
    let at = spread(id) & mask;
    while (this.#slots[at] !== 0) at = (at + 1) & mask;
    const row = this.#count++;
    this.#slots[at] = row + 1;
    this.#oids.set(id, row * this.#hashBytes);
    this.#sources[row] = k;
    this.#ranks[row] = rank;
  }

  #isAt(row: number, id: Uint8Array): boolean {
    const start = row * this.#hashBytes;
    for (let i = 0; i < this.#hashBytes; i++) if (this.#oids[start + i] !== id[i]) return false;
    return true;
  }

  #headAt(k: number, rank: number): EntryHeader {
    const pack = this.#packs[k] as Pack;
    const offset = pack.offsets.offsetAtRank(rank);
    const bytes = pack.bytes.read(offset, ENTRY_HEADER_BYTES_MAX);
    if (isPromise(bytes))
      throw new GitwharfError("base/invariant", "a fold is planned where bytes are not at hand at once");
    const head = parseEntryHeader(bytes, 0, this.#format);
    if (head === undefined || offset + head.headerLength > pack.offsets.endOffsetOfRank(rank)) {
      throw damagedPack(k, `pack ${pack.name} ends inside its entry at ${offset}; run 'gitwharf fsck'`);
    }
    return head;
  }

  #corrupt(row: number, why: string): GitwharfError {
    const k = this.#sources[row] as number;
    const pack = this.#packs[k] as Pack;
    const h = this.#hashBytes;
    const oid = Buffer.from(this.#oids.subarray(row * h, (row + 1) * h)).toString("hex");
    return damagedPack(k, `object ${oid} of pack ${pack.name} cannot be folded: ${why}; run 'gitwharf fsck'`);
  }
}

/** @param k the pack's number, by which who folds knows which one to leave out */
export function damagedPack(k: number, message: string): GitwharfError {
  return new GitwharfError("object/corrupt", message, { details: { packNumber: k } });
}

function emptyPlan(objectFormat: ObjectFormat, n: number): FoldPlan {
  const shared = (bytes: number): SharedArrayBuffer => new SharedArrayBuffer(bytes);
  return {
    objectFormat,
    objectCount: n,
    oids: new Uint8Array(shared(n * hashBytes(objectFormat))),
    sources: new Int32Array(shared(n * 4)),
    starts: new Float64Array(shared(n * 8)),
    ends: new Float64Array(shared(n * 8)),
    bases: new Int32Array(shared(n * 4)).fill(AS_STORED),
    offsets: new Float64Array(shared((n + 1) * 8)),
    crc32s: new Uint32Array(shared(n * 4)),
  };
}

/** Bytes from the middle of the id. */
function spread(id: Uint8Array): number {
  return (
    (id[8] as number) | ((id[9] as number) << 8) | ((id[10] as number) << 16) | ((id[11] as number) << 24)
  );
}
