/**
 * A repository as it was at one generation: to be read, never to be written. What it needs stays as long as its generation
 * is kept; one that is forgotten while it is read may lose its packs, as soon as the janitor's patience is over.
 */
import { GitwharfError } from "../../base/errors.js";
import type { ObjectFormat } from "../../object/object-format.js";
import type { Quarantine } from "../contracts/quarantine.js";
import type { RefStore } from "../contracts/ref-store.js";
import type { Repository, RepositoryFile, Snapshot, WorkTreeUse } from "../contracts/repository.js";
import type { RepositorySettings } from "../contracts/repository-settings.js";
import { openServedFile } from "../served-file.js";
import { ObjectsView } from "./objects-view.js";
import type { PackShelf } from "./pack-shelf.js";
import type { RepositoryState } from "./repository-state.js";

export interface PastRepositoryOptions {
  readonly name: string;
  /** Of the repository as it is now: what is cached of one root is as good for the other. */
  readonly id: string;
  readonly generation: number;
  readonly state: RepositoryState;
  readonly shelf: PackShelf;
  readonly settings: (name: string) => RepositorySettings;
  /** @throws storage/not-found when the generation was forgotten meanwhile */
  readonly checkKept: () => Promise<void>;
}

const NO_WORK_TREES: ReadonlyMap<string, WorkTreeUse> = new Map();

export class PastRepository implements Repository {
  readonly name: string;
  readonly id: string;
  readonly objectFormat: ObjectFormat;
  readonly refs: RefStore;
  readonly #options: PastRepositoryOptions;
  #view: Promise<ObjectsView> | undefined;

  constructor(options: PastRepositoryOptions) {
    const { name, id, state } = options;
    this.#options = options;
    this.name = name;
    this.id = id;
    this.objectFormat = state.root.objectFormat;
    this.refs = {
      snapshot: async () => state.snapshot,
      transact: async () => {
        throw this.#readOnly();
      },
      readReflog: async () => [],
      close: async () => undefined,
    };
  }

  async settings(): Promise<RepositorySettings> {
    const settings = this.#options.settings(this.name);
    // So that a push is told before it sends anything.
    return { ...settings, http: { ...settings.http, receivePack: false } };
  }

  async snapshot(): Promise<Snapshot> {
    const { state } = this.#options;
    this.#view ??= this.#openView();
    const view = (await this.#view).retain();
    let isReleased = false;
    return {
      version: state.rootId,
      head: state.snapshot.head,
      refs: state.snapshot,
      objects: view.reader,
      shallow: state.shallow,
      alternateTips: [],
      release: () => {
        if (isReleased) return;
        isReleased = true;
        view.release();
      },
    };
  }

  async openQuarantine(): Promise<Quarantine> {
    throw this.#readOnly();
  }

  async checkedOutBranches(): Promise<ReadonlyMap<string, WorkTreeUse>> {
    return NO_WORK_TREES;
  }

  async openFile(path: string): Promise<RepositoryFile | undefined> {
    return openServedFile(path, await this.snapshot());
  }

  async close(): Promise<void> {
    const view = this.#view;
    this.#view = undefined;
    (await view?.catch(() => undefined))?.release();
  }

  async #openView(): Promise<ObjectsView> {
    const { shelf, state, checkKept } = this.#options;
    try {
      const packs = await shelf.openAll(state.packs, this.objectFormat);
      return new ObjectsView(this.objectFormat, packs, { isShallow: state.shallow.size > 0 });
    } catch (error) {
      this.#view = undefined;
      await checkKept();
      throw error;
    }
  }

  #readOnly(): GitwharfError {
    const { name, generation } = this.#options;
    return new GitwharfError(
      "storage/read-only",
      `generation ${generation} of repository '${name}' can be read only: restore it to go on from there`,
    );
  }
}
