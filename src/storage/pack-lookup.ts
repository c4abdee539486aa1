/**
 * Finds the pack that holds an object, among the packs of one view. Packs that a multi-pack-index covers are searched
 * through it. Of the others, few are searched one by one, the one that answered last first; many small ones through a
 * `PackTable`.
 */
import type { ObjectId } from "../object/object-id.js";
import type { PackBitmap } from "../pack/bitmap.js";
import type { MultiPackIndex } from "../pack/multi-pack-index.js";
import type { Pack } from "../pack/pack.js";
import type { PackLocation } from "./contracts/object-reader.js";
import { PackTable } from "./pack-table.js";

/** With no more packs than this, searching them one by one is as fast as a table. */
const SEARCHED_ONE_BY_ONE_MAX = 16;
/** Larger packs are few: they are searched one by one always. */
const TABLE_PACK_OBJECTS_MAX = 65_536;
const TABLE_OBJECTS_MAX = 2_000_000;

/** Lookups are synchronous and never overlap: one buffer serves the thread. */
const rawId = Buffer.alloc(32);

/** A multi-pack-index with the packs that it names, by their numbers; undefined: the view does not hold that pack. */
export interface CoveredPacks {
  readonly index: MultiPackIndex;
  readonly packs: readonly (Pack | undefined)[];
  /** Where its bitmaps stand if it has some, and reading them there. */
  readonly bitmapPath?: string | undefined;
  readonly openBitmap?: (() => Promise<PackBitmap | undefined>) | undefined;
}

const NONE: readonly CoveredPacks[] = [];

export class PackLookup {
  readonly packs: readonly Pack[];
  readonly covered: readonly CoveredPacks[];
  /** Searched one by one, most recently hit first. */
  readonly #single: Pack[];
  readonly #table: PackTable | undefined;
  readonly #members: ReadonlySet<Pack>;

  /**
   * @param packs in order of preference
   * @param previous the lookup of an earlier view of the same repository, whose table is taken over and extended
   * @param covered the view's multi-pack-indexes
   */
  constructor(packs: readonly Pack[], previous?: PackLookup, covered = NONE) {
    this.packs = packs;
    this.covered = covered;
    this.#members = new Set(packs);
    const behindIndexes = new Set(covered.flatMap((group) => group.packs));
    const rest = covered.length === 0 ? packs : packs.filter((pack) => !behindIndexes.has(pack));
    const small = rest.filter((pack) => pack.index.objectCount <= TABLE_PACK_OBJECTS_MAX);
    if (small.length <= SEARCHED_ONE_BY_ONE_MAX) {
      this.#single = [...rest];
      this.#table = undefined;
      return;
    }
    const table = previous?.tableWorthKeeping(small) ?? new PackTable();
    // The newest few stay outside: adding a pack to the table at every push would cost more than it saves.
    const missing = small.filter((pack) => !table.holds(pack));
    if (missing.length > SEARCHED_ONE_BY_ONE_MAX) {
      for (const pack of missing) {
        if (table.entryCount + pack.index.objectCount <= TABLE_OBJECTS_MAX) table.add(pack);
      }
    }
    this.#table = table;
    this.#single = rest.filter((pack) => !table.holds(pack));
  }

  locate(oid: ObjectId): PackLocation | undefined {
    const single = this.#single;
    if (single.length === 1 && this.#table === undefined && this.covered.length === 0) {
      const pack = single[0] as Pack;
      const position = pack.index.find(oid);
      return position < 0 ? undefined : { pack, position };
    }
    if (rawId.write(oid, 0, "hex") !== oid.length / 2) return undefined;
    for (const group of this.covered) {
      const location = locateCovered(group);
      if (location !== undefined) return location;
    }
    for (let i = 0; i < single.length; i++) {
      const pack = single[i] as Pack;
      const position = pack.index.findBytes(rawId, 0);
      if (position < 0) continue;
      if (i > 0) {
        single.splice(i, 1);
        single.unshift(pack);
      }
      return { pack, position };
    }
    return this.#table?.find(rawId, this.#members, toLocation);
  }

  /** Every pack that holds the object, for when one copy turns out to be unreadable. */
  locateAll(oid: ObjectId): PackLocation[] {
    const found: PackLocation[] = [];
    for (const pack of this.packs) {
      const position = pack.index.find(oid);
      if (position >= 0) found.push({ pack, position });
    }
    return found;
  }

  /** The table, unless most of what it holds has gone since (a repack). */
  tableWorthKeeping(small: readonly Pack[]): PackTable | undefined {
    const table = this.#table;
    if (table === undefined) return undefined;
    let alive = 0;
    for (const pack of small) if (table.holds(pack)) alive += pack.index.objectCount;
    return alive * 2 >= table.entryCount ? table : undefined;
  }
}

/** What `rawId` names. The pack's own index has the last word: it is the one that goes with the bytes. */
function locateCovered({ index, packs }: CoveredPacks): PackLocation | undefined {
  const found = index.findBytes(rawId, 0);
  if (found < 0) return undefined;
  const named = packs[index.packAt(found)];
  const position = named?.index.findBytes(rawId, 0) ?? -1;
  if (named !== undefined && position >= 0) return { pack: named, position };
  // The pack has gone, or is not what it was; another one may hold a copy.
  for (const pack of packs) {
    const other = pack === undefined || pack === named ? -1 : pack.index.findBytes(rawId, 0);
    if (pack !== undefined && other >= 0) return { pack, position: other };
  }
  return undefined;
}

function toLocation(pack: Pack, position: number): PackLocation {
  return { pack, position };
}
