/**
 * A repository's objects with a quarantine's packs in front of them.
 */
import type { MaybePromise } from "../base/maybe-promise.js";
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
import { PackLookup } from "./pack-lookup.js";

export class OverlayReader implements ObjectReader {
  readonly objectFormat: ObjectFormat;
  readonly #base: ObjectReader;
  #lookup = new PackLookup([]);
  #packs: { readonly base: readonly Pack[]; readonly all: readonly Pack[] } | undefined;
  readonly #external = (oid: ObjectId): MaybePromise<GitObject | undefined> => this.read(oid);

  constructor(base: ObjectReader) {
    this.#base = base;
    this.objectFormat = base.objectFormat;
  }

  /** Puts a pack in front of all others. */
  add(pack: Pack): void {
    this.#lookup = new PackLookup([pack, ...this.#lookup.packs]);
    this.#packs = undefined;
  }

  get ownPacks(): readonly Pack[] {
    return this.#lookup.packs;
  }

  get packs(): readonly Pack[] {
    const base = this.#base.packs;
    if (this.#packs?.base !== base) this.#packs = { base, all: [...this.#lookup.packs, ...base] };
    return this.#packs.all;
  }

  get commitGraph(): CommitGraph | undefined {
    return this.#base.commitGraph;
  }

  async openMultiPackBitmap(): Promise<MultiPackBitmap | undefined> {
    return this.#base.openMultiPackBitmap?.();
  }

  locate(oid: ObjectId): PackLocation | undefined {
    return this.#lookup.locate(oid) ?? this.#base.locate(oid);
  }

  read(oid: ObjectId): MaybePromise<GitObject | undefined> {
    const own = this.#lookup.locate(oid);
    return own === undefined ? this.#base.read(oid) : own.pack.readObject(own.position, this.#external);
  }

  readHeader(oid: ObjectId): MaybePromise<ObjectHeader | undefined> {
    const own = this.#lookup.locate(oid);
    return own === undefined
      ? this.#base.readHeader(oid)
      : own.pack.readObjectHeader(own.position, this.#external);
  }

  has(oid: ObjectId): MaybePromise<boolean> {
    return this.#lookup.locate(oid) !== undefined || this.#base.has(oid);
  }

  looseObjects(): AsyncIterable<ObjectId> {
    return this.#base.looseObjects();
  }

  describe(): ObjectReaderDescriptor {
    const base = this.#base.describe();
    const own = this.#lookup.packs.map((pack) => ({
      key: pack.key,
      name: pack.name,
      index: pack.index.bytes,
      bytes: pack.bytes.describe(),
    }));
    return { ...base, packs: [...own, ...base.packs] };
  }
}
