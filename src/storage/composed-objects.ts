/**
 * The one implementation of `ObjectReader`: packs, loose objects behind them, a commit-graph beside them. Every
 * backend composes it.
 */
import { isGitwharfError } from "../base/errors.js";
import { isPromise, type MaybePromise } from "../base/maybe-promise.js";
import type { ObjectFormat } from "../object/object-format.js";
import type { ObjectId } from "../object/object-id.js";
import type { CommitGraph } from "../pack/commit-graph.js";
import type { Pack } from "../pack/pack.js";
import type {
  GitObject,
  MultiPackBitmap,
  ObjectHeader,
  ObjectReader,
  ObjectReaderDescriptor,
  PackLocation,
} from "./contracts/object-reader.js";
import { type CoveredPacks, PackLookup } from "./pack-lookup.js";

/** Objects that stand each in a file of its own. */
export interface LooseObjects {
  /** `objects` directories, in order of lookup. */
  readonly directories: readonly string[];
  read(oid: ObjectId): MaybePromise<GitObject | undefined>;
  readHeader(oid: ObjectId): MaybePromise<ObjectHeader | undefined>;
  has(oid: ObjectId): MaybePromise<boolean>;
  list(): AsyncIterable<ObjectId>;
}

export interface ObjectDatabaseOptions {
  readonly objectFormat: ObjectFormat;
  /** Most recently written first, alternates' last. */
  readonly packs: readonly Pack[];
  /** Of an earlier view of the same repository: its tables are taken over. */
  readonly previousLookup?: PackLookup | undefined;
  /** Multi-pack-indexes over some of `packs`. */
  readonly covered?: readonly CoveredPacks[] | undefined;
  readonly loose?: LooseObjects | undefined;
  readonly commitGraph?: CommitGraph | undefined;
  /** The files' bytes, for `describe`. */
  readonly commitGraphLayers?: readonly SharedArrayBuffer[] | undefined;
  readonly bitmapPathOf?: ((pack: Pack) => string | undefined) | undefined;
  readonly reverseIndexPathOf?: ((pack: Pack) => string | undefined) | undefined;
  /**
   * Asked before "absent" is answered: another program may have moved the object into a new pack meanwhile.
   * Answers with the packs that are not known yet, or undefined when there is nothing new.
   */
  readonly findNewPacks?: ((oid: ObjectId) => MaybePromise<readonly Pack[] | undefined>) | undefined;
}

export interface ObjectDatabase extends ObjectReader {
  readonly lookup: PackLookup;
}

export function createObjectDatabase(options: ObjectDatabaseOptions): ObjectDatabase {
  return new PackedAndLoose(options);
}

class PackedAndLoose implements ObjectDatabase {
  readonly objectFormat: ObjectFormat;
  readonly commitGraph: CommitGraph | undefined;
  readonly #options: ObjectDatabaseOptions;
  #lookup: PackLookup;
  readonly #external = (oid: ObjectId): MaybePromise<GitObject | undefined> => this.read(oid);

  constructor(options: ObjectDatabaseOptions) {
    this.#options = options;
    this.objectFormat = options.objectFormat;
    this.commitGraph = options.commitGraph;
    this.#lookup = new PackLookup(options.packs, options.previousLookup, options.covered);
  }

  get packs(): readonly Pack[] {
    return this.#lookup.packs;
  }

  get lookup(): PackLookup {
    return this.#lookup;
  }

  locate(oid: ObjectId): PackLocation | undefined {
    return this.#lookup.locate(oid);
  }

  read(oid: ObjectId): MaybePromise<GitObject | undefined> {
    return this.#find(
      oid,
      ({ pack, position }) => pack.readObject(position, this.#external),
      (loose) => loose.read(oid),
    );
  }

  readHeader(oid: ObjectId): MaybePromise<ObjectHeader | undefined> {
    return this.#find(
      oid,
      ({ pack, position }) => pack.readObjectHeader(position, this.#external),
      (loose) => loose.readHeader(oid),
    );
  }

  has(oid: ObjectId): MaybePromise<boolean> {
    if (this.#lookup.locate(oid) !== undefined) return true;
    const { loose, findNewPacks } = this.#options;
    const afterLoose = (found: boolean): MaybePromise<boolean> => {
      if (found || findNewPacks === undefined) return found;
      const packs = findNewPacks(oid);
      const answer = (added: readonly Pack[] | undefined): boolean =>
        this.#addPacks(added) && this.#lookup.locate(oid) !== undefined;
      return isPromise(packs) ? packs.then(answer) : answer(packs);
    };
    const found = loose?.has(oid) ?? false;
    return isPromise(found) ? found.then(afterLoose) : afterLoose(found);
  }

  async openMultiPackBitmap(): Promise<MultiPackBitmap | undefined> {
    for (const { index, packs, openBitmap } of this.#lookup.covered) {
      const open = packs.filter((pack) => pack !== undefined);
      const bitmap = open.length < packs.length ? undefined : await openBitmap?.();
      if (bitmap !== undefined) return { index, packs: open, bitmap };
    }
    return undefined;
  }

  async *looseObjects(): AsyncIterable<ObjectId> {
    if (this.#options.loose !== undefined) yield* this.#options.loose.list();
  }

  describe(): ObjectReaderDescriptor {
    const { commitGraphLayers, bitmapPathOf, reverseIndexPathOf, loose } = this.#options;
    return {
      objectFormat: this.objectFormat,
      packs: this.packs.map((pack) => {
        const bitmapPath = bitmapPathOf?.(pack);
        const reverseIndexPath = reverseIndexPathOf?.(pack);
        return {
          key: pack.key,
          name: pack.name,
          index: pack.index.bytes,
          bytes: pack.bytes.describe(),
          ...(pack.beside === undefined ? {} : { beside: pack.beside }),
          ...(bitmapPath === undefined ? {} : { bitmapPath }),
          ...(reverseIndexPath === undefined ? {} : { reverseIndexPath }),
        };
      }),
      looseDirectories: loose?.directories ?? [],
      commitGraph: commitGraphLayers ?? [],
      multiPackIndexes: this.#lookup.covered.map(({ index, packs, bitmapPath }) => ({
        bytes: index.bytes,
        packKeys: packs.map((pack) => pack?.key ?? null),
        ...(bitmapPath === undefined ? {} : { bitmapPath }),
      })),
    };
  }

  #find<T>(
    oid: ObjectId,
    fromPack: (location: PackLocation) => MaybePromise<T>,
    fromLoose: (loose: LooseObjects) => MaybePromise<T | undefined>,
  ): MaybePromise<T | undefined> {
    const location = this.#lookup.locate(oid);
    if (location === undefined) return this.#findUnpacked(oid, fromPack, fromLoose);
    const recover = (error: unknown): MaybePromise<T> =>
      this.#findElsewhere(oid, location, error, fromPack, fromLoose);
    try {
      const value = fromPack(location);
      return isPromise(value) ? value.catch(recover) : value;
    } catch (error) {
      return recover(error);
    }
  }

  #findUnpacked<T>(
    oid: ObjectId,
    fromPack: (location: PackLocation) => MaybePromise<T>,
    fromLoose: (loose: LooseObjects) => MaybePromise<T | undefined>,
  ): MaybePromise<T | undefined> {
    const { loose, findNewPacks } = this.#options;
    const afterLoose = (value: T | undefined): MaybePromise<T | undefined> => {
      if (value !== undefined || findNewPacks === undefined) return value;
      const packs = findNewPacks(oid);
      const afterRescan = (added: readonly Pack[] | undefined): MaybePromise<T | undefined> => {
        const location = this.#addPacks(added) ? this.#lookup.locate(oid) : undefined;
        return location === undefined ? undefined : fromPack(location);
      };
      return isPromise(packs) ? packs.then(afterRescan) : afterRescan(packs);
    };
    const value = loose === undefined ? undefined : fromLoose(loose);
    return isPromise(value) ? value.then(afterLoose) : afterLoose(value);
  }

  /** One copy cannot be read: another pack or a loose file may hold a good one. */
  async #findElsewhere<T>(
    oid: ObjectId,
    failed: PackLocation,
    error: unknown,
    fromPack: (location: PackLocation) => MaybePromise<T>,
    fromLoose: (loose: LooseObjects) => MaybePromise<T | undefined>,
  ): Promise<T> {
    if (!isGitwharfError(error, "object/corrupt", "storage/io", "pack/bad-index")) throw error;
    for (const location of this.#lookup.locateAll(oid)) {
      if (location.pack === failed.pack) continue;
      try {
        return await fromPack(location);
      } catch (other) {
        if (!isGitwharfError(other, "object/corrupt", "storage/io", "pack/bad-index")) throw other;
      }
    }
    const { loose } = this.#options;
    const value = loose === undefined ? undefined : await fromLoose(loose);
    if (value === undefined) throw error;
    return value;
  }

  #addPacks(added: readonly Pack[] | undefined): boolean {
    if (added === undefined) return false;
    const known = new Set(this.packs);
    const fresh = added.filter((pack) => !known.has(pack));
    if (fresh.length > 0) {
      this.#lookup = new PackLookup([...this.packs, ...fresh], this.#lookup, this.#lookup.covered);
    }
    return true;
  }
}
