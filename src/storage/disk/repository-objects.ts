/**
 * The object directories of one repository, alternates resolved, and the current view of them.
 */
import { GitwharfError } from "../../base/errors.js";
import type { ObjectFormat } from "../../object/object-format.js";
import type { ObjectDirectory, ObjectDirectoryPool } from "./object-directory.js";
import { ObjectsView } from "./objects-view.js";

/** As in git: the repository's own alternates, theirs, and so on, five steps far. */
const ALTERNATE_DEPTH_MAX = 5;
const ALTERNATES_MAX = 1000;

export interface RepositoryObjectsOptions {
  readonly path: string;
  readonly objectFormat: ObjectFormat;
  readonly pool: ObjectDirectoryPool;
  /** Whether this directory (real path) may be borrowed from. */
  readonly mayBorrowFrom: (path: string) => boolean;
}

export class RepositoryObjects {
  readonly #options: RepositoryObjectsOptions;
  readonly #own: ObjectDirectory;
  #alternates: readonly ObjectDirectory[] = [];
  /** The lists of paths from which `#alternates` was made. */
  #resolvedFrom: readonly (readonly string[])[] = [];
  #complete = true;
  #view: ObjectsView | undefined;
  #closed = false;

  private constructor(options: RepositoryObjectsOptions, own: ObjectDirectory) {
    this.#options = options;
    this.#own = own;
  }

  /** @throws storage/not-found when there is no such directory */
  static async open(options: RepositoryObjectsOptions): Promise<RepositoryObjects> {
    const own = await options.pool.acquire(options.path, options.objectFormat);
    if (own === undefined)
      throw new GitwharfError("storage/not-found", `there is no directory ${options.path}`);
    return new RepositoryObjects(options, own);
  }

  get own(): ObjectDirectory {
    return this.#own;
  }

  get alternates(): readonly ObjectDirectory[] {
    return this.#alternates;
  }

  /** The view that was taken last, as it was then. */
  get current(): ObjectsView | undefined {
    return this.#view;
  }

  get residentBytes(): number {
    return this.#view?.residentBytes ?? 0;
  }

  /**
   * A view of the objects as they are now. The caller releases it.
   * @param options.commitGraph whether a commit-graph may be used (not in a shallow repository)
   */
  async takeView(options: { readonly commitGraph: boolean }): Promise<ObjectsView> {
    await Promise.all([this.#own.refresh(), ...this.#alternates.map((directory) => directory.refresh())]);
    if (!this.#complete || !this.#alternatesUnchanged()) await this.#resolveAlternates();
    if (this.#closed) throw new GitwharfError("storage/not-found", `${this.#options.path} was closed`);
    const directories = [this.#own, ...this.#alternates];
    const graph = options.commitGraph
      ? directories.find(({ commitGraph }) => commitGraph !== undefined)?.commitGraph
      : undefined;
    let view = this.#view;
    if (view === undefined || !view.isCurrent(directories, graph)) {
      const { objectFormat } = this.#options;
      const previousLookup = view?.reader.lookup;
      view?.release();
      view = new ObjectsView({ objectFormat, directories, commitGraph: graph, previousLookup });
      this.#view = view;
    }
    view.retain();
    return view;
  }

  /** Lets go of packs that have gone from the disk, when there are any. */
  async releaseVanished(): Promise<void> {
    if (this.#view === undefined || this.#closed) return;
    const before = this.#own.packs.files;
    await this.#own.packs.refresh();
    if (this.#own.packs.files !== before) this.#dropView();
  }

  #dropView(): void {
    this.#view?.release();
    this.#view = undefined;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#dropView();
    for (const directory of [this.#own, ...this.#alternates]) this.#options.pool.release(directory);
  }

  #alternatesUnchanged(): boolean {
    const lists = [this.#own, ...this.#alternates].map(({ alternatePaths }) => alternatePaths);
    return (
      lists.length === this.#resolvedFrom.length && lists.every((list, i) => list === this.#resolvedFrom[i])
    );
  }

  async #resolveAlternates(): Promise<void> {
    const { pool, objectFormat, mayBorrowFrom } = this.#options;
    const found: ObjectDirectory[] = [];
    const lists: (readonly string[])[] = [this.#own.alternatePaths];
    let complete = true;
    let level: readonly ObjectDirectory[] = [this.#own];
    for (let depth = 0; depth < ALTERNATE_DEPTH_MAX && level.length > 0; depth++) {
      const next: ObjectDirectory[] = [];
      for (const path of level.flatMap(({ alternatePaths }) => alternatePaths)) {
        if (found.length >= ALTERNATES_MAX) break;
        const directory = await pool.acquire(path, objectFormat);
        if (directory === undefined) {
          complete = false;
          continue;
        }
        if (directory === this.#own || found.includes(directory) || !mayBorrowFrom(directory.path)) {
          pool.release(directory);
          continue;
        }
        found.push(directory);
        next.push(directory);
        await directory.refresh();
        lists.push(directory.alternatePaths);
      }
      level = next;
    }
    if (this.#closed) {
      for (const directory of found) pool.release(directory);
      return;
    }
    const old = this.#alternates;
    this.#alternates = found;
    this.#resolvedFrom = lists;
    this.#complete = complete;
    for (const directory of old) pool.release(directory);
  }
}
