/**
 * From a selection of objects to the bytes of a pack: stored entries are copied as they are, in runs; a delta whose
 * distance to its base changes gets a new head; what cannot be copied is written anew. Each object stands once, and
 * a base before every delta on it.
 */
import { isPromise } from "../../base/maybe-promise.js";
import { hashBytes } from "../../object/object-format.js";
import { objectTypeOf, OFS_DELTA, REF_DELTA } from "../../pack/entry-header.js";
import type { Pack } from "../../pack/pack.js";
import { encodeEntries, type NewEntry, type ObjectToEncode } from "../delta-search.js";
import type { ObjectSelection } from "../object-count.js";
import { ENTRY_HEAD_BYTES_MAX, writeDistance, writeTypeAndSize } from "./entry-encoding.js";
import { hasBasesFirst } from "./bases-first.js";
import { type PlanData, SegmentBuilder } from "./plan-data.js";
import { BASE_ELSEWHERE, NO_BASE, type PlanEntries, readEntries } from "./plan-entries.js";
import { packIdentity } from "./reachable-set.js";
import type { WorkBudget } from "./work-budget.js";

export interface LayoutOptions {
  /** Deltas may stand on objects that only the other side has. */
  readonly thinPack: boolean;
  readonly ofsDelta: boolean;
  readonly budget: WorkBudget;
}

const PACK_HEADER_BYTES = 12;
/** In a pack of so many rows, objects stored whole become deltas on what the other side has. */
const SHRUNK_ROWS_MAX = 1000;
/** Stored bytes from which on that pays. */
const SHRUNK_BYTES_MIN = 1024;
/** Whole objects of this size and more are deflated when the pack is streamed. */
const DEFERRED_BYTES_MIN = 1024 * 1024;

export async function layOutPack(selection: ObjectSelection, options: LayoutOptions): Promise<PlanData> {
  const { space, chosen } = selection;
  const whole = options.ofsDelta ? await wholePacks(selection, options.budget) : new Set<number>();
  for (const k of whole) {
    const pack = space.packs[k] as Pack;
    if (pack.index.objectCount === chosen.size) return verbatim(selection, pack);
  }
  const entries = await readEntries(space, chosen, whole, options.budget);
  const layout = new Layout(selection, options, entries, whole);
  await layout.encode();
  return layout.write();
}

/** Packs of which every object is sent, none stands in an earlier pack, and which may be sent as they are. */
async function wholePacks({ space, chosen }: ObjectSelection, budget: WorkBudget): Promise<Set<number>> {
  const whole = new Set<number>();
  for (const [k, pack] of space.packs.entries()) {
    const first = space.firsts[k] as number;
    const { objectCount } = pack.index;
    const isWhole = objectCount > 0 && chosen.countBetween(first, first + objectCount) === objectCount;
    if (isWhole && (await hasBasesFirst(pack, budget))) whole.add(k);
  }
  return whole;
}

/** One pack from its first byte to its last: even its checksum is known. */
function verbatim({ space, chosen }: ObjectSelection, pack: Pack): PlanData {
  const end = pack.bytes.sizeBytes - hashBytes(space.objectFormat);
  return {
    objectFormat: space.objectFormat,
    objectCount: chosen.size,
    deltaCount: 0,
    reusedCount: chosen.size,
    reusedDeltaCount: 0,
    sizeBytes: pack.bytes.sizeBytes,
    packKeys: [pack.key],
    wholePacks: [packIdentity(pack)],
    segmentPacks: new Int32Array([0]),
    segmentStarts: new Float64Array([0]),
    segmentEnds: new Float64Array([end]),
    literals: new Uint8Array(0),
    deferred: [],
    trailer: pack.index.packTrailer,
  };
}

class Layout {
  readonly #selection: ObjectSelection;
  readonly #options: LayoutOptions;
  readonly #entries: PlanEntries;
  readonly #whole: ReadonlySet<number>;
  /** Where each whole pack's first entry will stand. */
  readonly #wholeStarts = new Map<number, number>();
  readonly #segments = new SegmentBuilder();
  /** By row for stored entries that are not copied; behind them the objects that are in no pack. */
  readonly #anew = new Map<number, NewEntry>();
  readonly #rowsOutside = new Map<number, number>();
  readonly #deferred: number[] = [];
  readonly #isDeferred = new Set<number>();
  /** Where each row stands in the reply; 0: not written yet. */
  #positions = new Float64Array(0);
  #rowCount: number;
  #deltaCount = 0;
  #reusedDeltaCount = 0;

  constructor(
    selection: ObjectSelection,
    options: LayoutOptions,
    entries: PlanEntries,
    whole: ReadonlySet<number>,
  ) {
    this.#selection = selection;
    this.#options = options;
    this.#entries = entries;
    this.#whole = whole;
    this.#rowCount = entries.count;
  }

  /** Finds what cannot be copied, and writes it anew. */
  async encode(): Promise<void> {
    const { space, chosen, uninteresting } = this.#selection;
    const { thinPack, budget } = this.#options;
    const entries = this.#entries;
    const again: number[] = [];
    const wholeRows: number[] = [];
    const shrinks = thinPack && entries.count <= SHRUNK_ROWS_MAX;
    let forward = false;
    for (let row = 0; row < entries.count; row++) {
      const base = entries.bases[row] as number;
      if (base >= row) forward = true;
      if (shrinks && base === NO_BASE && entries.types[row] !== 1) {
        if ((entries.ends[row] as number) - (entries.starts[row] as number) >= SHRUNK_BYTES_MIN)
          wholeRows.push(row);
      }
      if (base !== BASE_ELSEWHERE) continue;
      const ordinal = entries.baseOrdinals[row] as number;
      if (ordinal >= 0 && thinPack && uninteresting.has(ordinal)) continue;
      if (ordinal >= 0 && chosen.has(ordinal) && this.#whole.has(space.packNumberOf(ordinal))) continue;
      again.push(row);
    }
    if (forward) for (const row of breakCycles(entries)) again.push(row);
    const ordinals = again.map((row) => entries.ordinalOf(row));
    for (const row of again) entries.bases[row] = NO_BASE;
    const outside: number[] = [];
    chosen.forEachBetween(space.packedCount, space.size, (ordinal) => outside.push(ordinal));
    const usedAsBase = again.length > 0 ? basesOf(entries) : undefined;
    const rowsAgain = new Map(ordinals.map((ordinal, i) => [ordinal, again[i] as number]));
    const objects: ObjectToEncode[] = [];
    const defer = (ordinal: number): void => {
      this.#deferred.push(ordinal);
      const row = rowsAgain.get(ordinal);
      if (row !== undefined) this.#isDeferred.add(row);
    };
    for (const ordinal of [...ordinals, ...outside]) {
      const read = space.readHeader(ordinal);
      const header = isPromise(read) ? await read : read;
      if (budget.spend(0.5)) await budget.pause();
      const row = rowsAgain.get(ordinal);
      const needed = row !== undefined && usedAsBase?.has(row) === true;
      if (header.sizeBytes >= DEFERRED_BYTES_MIN && !needed) defer(ordinal);
      else objects.push({ ordinal, header, needed });
    }
    for (const row of wholeRows) {
      const sizeBytes = entries.sizes[row] as number;
      const type = objectTypeOf(entries.types[row] as number);
      if (type === undefined || sizeBytes >= DEFERRED_BYTES_MIN) continue;
      const ordinal = entries.ordinalOf(row);
      rowsAgain.set(ordinal, row);
      objects.push({ ordinal, header: { type, sizeBytes }, needed: false, optional: true });
    }
    const made = await encodeEntries({ selection: this.#selection, objects, thin: thinPack, budget });
    for (const ordinal of made.left) defer(ordinal);
    for (const entry of made.entries) {
      let row = rowsAgain.get(entry.ordinal);
      if (row === undefined) {
        row = this.#rowCount++;
        this.#rowsOutside.set(entry.ordinal, row);
      }
      this.#anew.set(row, entry);
    }
  }

  write(): PlanData {
    const { space, chosen } = this.#selection;
    const segments = this.#segments;
    this.#positions = new Float64Array(this.#rowCount);
    const header = Buffer.alloc(PACK_HEADER_BYTES);
    header.write("PACK", 0, "latin1");
    header.writeUInt32BE(2, 4);
    header.writeUInt32BE(chosen.size, 8);
    segments.literal(header);
    for (const k of this.#whole) {
      const pack = space.packs[k] as Pack;
      this.#wholeStarts.set(k, segments.position);
      segments.copy(k, PACK_HEADER_BYTES, pack.bytes.sizeBytes - hashBytes(space.objectFormat));
    }
    const chain: number[] = [];
    for (let row = 0; row < this.#rowCount; row++) {
      if (this.#positions[row] !== 0 || this.#isDeferred.has(row)) continue;
      // Bases first. Chains have no cycles any more, and end in a row without a base or one that is written.
      let at = row;
      for (
        let base = this.#baseRowOf(at);
        base >= 0 && this.#positions[base] === 0;
        base = this.#baseRowOf(at)
      ) {
        chain.push(at);
        at = base;
      }
      this.#writeRow(at);
      for (let next = chain.pop(); next !== undefined; next = chain.pop()) this.#writeRow(next);
    }
    return {
      objectFormat: space.objectFormat,
      objectCount: chosen.size,
      deltaCount: this.#deltaCount,
      reusedCount: chosen.size - this.#anew.size - this.#deferred.length,
      reusedDeltaCount: this.#reusedDeltaCount,
      sizeBytes: segments.position + hashBytes(space.objectFormat),
      packKeys: space.packs.map((pack) => pack.key),
      wholePacks: [...this.#whole].map((k) => packIdentity(space.packs[k] as Pack)),
      ...segments.finish(),
      deferred: this.#deferred.map((ordinal) => space.oidOf(ordinal)),
      trailer: undefined,
    };
  }

  /** The row that must stand before this one, or −1. */
  #baseRowOf(row: number): number {
    const anew = this.#anew.get(row);
    if (anew === undefined) return row < this.#entries.count ? (this.#entries.bases[row] as number) : NO_BASE;
    return anew.base < 0 ? NO_BASE : this.#rowOf(anew.base);
  }

  #rowOf(ordinal: number): number {
    return this.#rowsOutside.get(ordinal) ?? this.#entries.rowOf(ordinal);
  }

  #writeRow(row: number): void {
    const segments = this.#segments;
    const position = segments.position;
    const anew = this.#anew.get(row);
    if (anew !== undefined) {
      this.#positions[row] = position;
      if (anew.base < 0) {
        const { buffer, at } = segments.room(ENTRY_HEAD_BYTES_MAX);
        segments.commit(writeTypeAndSize(buffer, at, anew.type, anew.sizeBytes));
      } else {
        const base = this.#rowOf(anew.base);
        this.#writeDeltaHead(
          anew.sizeBytes,
          position,
          base >= 0 ? (this.#positions[base] as number) : -1,
          anew.base,
        );
      }
      segments.literal(anew.deflated);
      return;
    }
    const entries = this.#entries;
    const start = entries.starts[row] as number;
    const end = entries.ends[row] as number;
    const pack = entries.packs[row] as number;
    const base = entries.bases[row] as number;
    this.#positions[row] = position;
    if (base === NO_BASE) {
      segments.copy(pack, start, end);
      return;
    }
    this.#reusedDeltaCount++;
    if (
      base >= 0 &&
      this.#options.ofsDelta &&
      entries.types[row] === OFS_DELTA &&
      entries.packs[base] === pack
    ) {
      const distance = position - (this.#positions[base] as number);
      if (distance === start - (entries.starts[base] as number)) {
        this.#deltaCount++;
        segments.copy(pack, start, end);
        return;
      }
    }
    const baseOrdinal = base >= 0 ? -1 : (entries.baseOrdinals[row] as number);
    const basePosition = base >= 0 ? (this.#positions[base] as number) : this.#positionInWhole(baseOrdinal);
    this.#writeDeltaHead(
      entries.sizes[row] as number,
      position,
      basePosition,
      base >= 0 ? entries.ordinalOf(base) : baseOrdinal,
    );
    segments.copy(pack, start + (entries.headerLengths[row] as number), end);
  }

  /** @param basePosition −1 when the base is not in this pack */
  #writeDeltaHead(sizeBytes: number, position: number, basePosition: number, baseOrdinal: number): void {
    const { space } = this.#selection;
    this.#deltaCount++;
    const { buffer, at } = this.#segments.room(ENTRY_HEAD_BYTES_MAX);
    if (basePosition >= 0 && this.#options.ofsDelta) {
      const end = writeTypeAndSize(buffer, at, OFS_DELTA, sizeBytes);
      this.#segments.commit(writeDistance(buffer, end, position - basePosition));
      return;
    }
    const end = writeTypeAndSize(buffer, at, REF_DELTA, sizeBytes);
    this.#segments.commit(end + buffer.write(space.oidOf(baseOrdinal), end, "hex"));
  }

  /** −1 when the ordinal is in no pack that is sent whole. */
  #positionInWhole(ordinal: number): number {
    const { space } = this.#selection;
    const k = space.packNumberOf(ordinal);
    const start = this.#wholeStarts.get(k);
    if (start === undefined) return -1;
    const { index } = space.packs[k] as Pack;
    return start + index.offsetAt(ordinal - (space.firsts[k] as number)) - PACK_HEADER_BYTES;
  }
}

/** Rows on which another row stands. */
function basesOf(entries: PlanEntries): Set<number> {
  const used = new Set<number>();
  for (let row = 0; row < entries.count; row++) {
    const base = entries.bases[row] as number;
    if (base >= 0) used.add(base);
  }
  return used;
}

/**
 * Copies of one object in several packs can make chains of deltas run in a circle. Answers rows which, written
 * whole, leave no circle.
 */
function breakCycles(entries: PlanEntries): number[] {
  const onPath = 1;
  const done = 2;
  const state = new Uint8Array(entries.count);
  const broken: number[] = [];
  const path: number[] = [];
  for (let row = 0; row < entries.count; row++) {
    let at = row;
    while (state[at] === 0) {
      state[at] = onPath;
      path.push(at);
      const base = entries.bases[at] as number;
      if (base < 0) break;
      if (state[base] === onPath) {
        broken.push(at);
        break;
      }
      at = base;
    }
    for (let step = path.pop(); step !== undefined; step = path.pop()) state[step] = done;
  }
  return broken;
}
