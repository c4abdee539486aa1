/**
 * The objects of a repository on disk as of one moment: the packs that stood there, held open together, and the
 * loose objects behind them. Snapshots that found the same packs share one view; it lets go of its packs with the
 * last of them.
 */
import type { MaybePromise } from "../../base/maybe-promise.js";
import type { ObjectFormat } from "../../object/object-format.js";
import type { ObjectId } from "../../object/object-id.js";
import type { Pack } from "../../pack/pack.js";
import type { GitObject, ObjectHeader } from "../contracts/object-reader.js";
import { createObjectDatabase, type LooseObjects, type ObjectDatabase } from "../composed-objects.js";
import type { PackLookup } from "../pack-lookup.js";
import type { LoadedCommitGraph } from "./commit-graph-files.js";
import type { LooseDirectory } from "./loose-directory.js";
import type { ObjectDirectory } from "./object-directory.js";
import type { PackFile } from "./pack-file.js";

let serials = 0;

export interface ObjectsViewOptions {
  readonly objectFormat: ObjectFormat;
  /** The repository's own first, then alternates. */
  readonly directories: readonly ObjectDirectory[];
  readonly commitGraph: LoadedCommitGraph | undefined;
  readonly previousLookup: PackLookup | undefined;
}

export class ObjectsView {
  /** Unique in the process: equal serials mean the same open packs. */
  readonly serial = serials++;
  readonly reader: ObjectDatabase;
  readonly #directories: readonly ObjectDirectory[];
  readonly #commitGraph: LoadedCommitGraph | undefined;
  /** Per directory: the list of files that is part of the view. */
  readonly #lists: (readonly PackFile[])[];
  readonly #firstLists: readonly (readonly PackFile[])[];
  readonly #held = new Map<Pack, PackFile>();
  #since = Number.NEGATIVE_INFINITY;
  #users = 1;

  /** Has one user: who made it. */
  constructor(options: ObjectsViewOptions) {
    this.#directories = options.directories;
    this.#commitGraph = options.commitGraph;
    this.#lists = options.directories.map(({ packs }) => packs.files);
    this.#firstLists = [...this.#lists];
    for (const file of this.#lists.flat()) this.#hold(file);
    this.reader = createObjectDatabase({
      objectFormat: options.objectFormat,
      packs: [...this.#held.keys()],
      previousLookup: options.previousLookup,
      covered: options.directories.flatMap(({ packs }) => packs.covered ?? []),
      loose: new LooseBehind(
        options.directories.map(({ loose }) => loose),
        () => this.#since,
      ),
      commitGraph: options.commitGraph?.graph,
      commitGraphLayers: options.commitGraph?.layers,
      bitmapPathOf: (pack) => this.#held.get(pack)?.bitmapPath,
      reverseIndexPathOf: (pack) => this.#held.get(pack)?.reverseIndexPath,
      findNewPacks: (oid) => this.#findNewPacks(oid),
    });
  }

  /** True when a view made now would hold the same packs. */
  isCurrent(directories: readonly ObjectDirectory[], commitGraph: LoadedCommitGraph | undefined): boolean {
    return (
      commitGraph === this.#commitGraph &&
      directories.length === this.#directories.length &&
      directories.every((d, i) => d === this.#directories[i] && d.packs.files === this.#firstLists[i])
    );
  }

  /** Memory of indexes and small packs, in bytes. */
  get residentBytes(): number {
    let sum = 0;
    for (const file of this.#held.values()) sum += file.residentBytes;
    for (const { index } of this.reader.lookup.covered) sum += index.bytes.byteLength;
    return sum;
  }

  /** Loose objects written before this moment (`performance.now()`) are part of the view. */
  coverLooseUntil(moment: number): void {
    this.#since = Math.max(this.#since, moment);
  }

  retain(): void {
    this.#users++;
  }

  release(): void {
    if (--this.#users > 0) return;
    for (const file of this.#held.values()) file.release();
  }

  #hold(file: PackFile): void {
    if (this.#held.has(file.pack)) return;
    file.retain();
    this.#held.set(file.pack, file);
  }

  /**
   * An object that was loose, or in a pack that could not be opened any more, may have been moved into a new pack
   * since the packs were listed. When they were listed after its absence was established, there is nothing to find.
   */
  #findNewPacks(oid: ObjectId): MaybePromise<readonly Pack[] | undefined> {
    let absentAt = Number.NEGATIVE_INFINITY;
    for (const { loose } of this.#directories) absentAt = Math.max(absentAt, loose.absentAt(oid));
    let stale: Promise<void>[] | undefined;
    for (const { packs } of this.#directories)
      if (packs.validatedAt < absentAt) (stale ??= []).push(packs.refresh());
    if (stale === undefined) return this.#takeNewPacks();
    return Promise.all(stale).then(() => this.#takeNewPacks());
  }

  #takeNewPacks(): readonly Pack[] | undefined {
    if (this.#users <= 0) return undefined;
    let added: Pack[] | undefined;
    for (let i = 0; i < this.#directories.length; i++) {
      const { packs } = this.#directories[i] as ObjectDirectory;
      if (packs.files === this.#lists[i]) continue;
      this.#lists[i] = packs.files;
      for (const file of packs.files) {
        if (this.#held.has(file.pack)) continue;
        this.#hold(file);
        (added ??= []).push(file.pack);
      }
    }
    return added;
  }
}

/** The loose objects of several directories, one after the other. */
class LooseBehind implements LooseObjects {
  readonly #all: readonly LooseDirectory[];
  readonly #since: () => number;

  constructor(all: readonly LooseDirectory[], since: () => number) {
    this.#all = all;
    this.#since = since;
  }

  get directories(): readonly string[] {
    return this.#all.map(({ path }) => path);
  }

  read(oid: ObjectId): MaybePromise<GitObject | undefined> {
    return this.#first(0, (loose) => loose.read(oid, this.#since()));
  }

  readHeader(oid: ObjectId): MaybePromise<ObjectHeader | undefined> {
    return this.#first(0, (loose) => loose.readHeader(oid, this.#since()));
  }

  has(oid: ObjectId): MaybePromise<boolean> {
    const found = this.#first(0, (loose) => {
      const there = loose.has(oid, this.#since());
      return there instanceof Promise ? there.then((yes) => yes || undefined) : there || undefined;
    });
    return found instanceof Promise ? found.then((yes) => yes === true) : found === true;
  }

  async *list(): AsyncIterable<ObjectId> {
    for (const loose of this.#all) yield* loose.list();
  }

  #first<T>(
    from: number,
    ask: (loose: LooseDirectory) => MaybePromise<T | undefined>,
  ): MaybePromise<T | undefined> {
    for (let i = from; i < this.#all.length; i++) {
      const answer = ask(this.#all[i] as LooseDirectory);
      if (answer instanceof Promise) return answer.then((value) => value ?? this.#first(i + 1, ask));
      if (answer !== undefined) return answer;
    }
    return undefined;
  }
}
