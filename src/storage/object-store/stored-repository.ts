/** A handle on a repository whose state is one root: opened by one request, over what all handles share. */
import { isGitwharfError } from "../../base/errors.js";
import type { ObjectFormat } from "../../object/object-format.js";
import type { RecordedPush } from "../../pack/recorded-push.js";
import { createObjectDatabase } from "../composed-objects.js";
import type { ObjectReader } from "../contracts/object-reader.js";
import type { PackMaintenance } from "../contracts/pack-maintenance.js";
import type { Quarantine } from "../contracts/quarantine.js";
import type { RefStore } from "../contracts/ref-store.js";
import type { RepositoryBundles } from "../contracts/repository-bundles.js";
import type {
  Repository,
  RepositoryFile,
  Snapshot,
  SnapshotOptions,
  WorkTreeUse,
} from "../contracts/repository.js";
import type { RepositorySettings } from "../contracts/repository-settings.js";
import { openServedFile } from "../served-file.js";
import { changeShallow, isNoChange, type ShallowChange } from "../shallow-change.js";
import type { Bucket } from "./bucket/bucket.js";
import type { ObjectCache } from "./cache/object-cache.js";
import { movedTo } from "./chunks/lay-out-pack.js";
import { beginEarlyUpload, type EarlyUpload } from "./early-upload.js";
import { LateObjects } from "./late-objects.js";
import { keepUploads } from "./keep-upload.js";
import type { MetadataStore, RepositoryRecord } from "./metadata/metadata-store.js";
import type { ObjectsView } from "./objects-view.js";
import type { SpooledPack } from "./pack-upload.js";
import type { PackShelf } from "./pack-shelf.js";
import type { RepositoryState } from "./repository-state.js";
import { StagedPacks, type StagedUpload, type StagedView } from "./staged-packs.js";
import { createStoredBundles } from "./stored-bundles.js";
import type { StoredCore } from "./stored-core.js";
import type { StoredPack } from "./stored-pack.js";
import { createStoredPackMaintenance } from "./stored-pack-maintenance.js";
import { type PublishedPacks, StoredQuarantine } from "./stored-quarantine.js";
import { unnamedLeaf } from "./pack-splices.js";
import { StoredRefs } from "./stored-refs.js";
import { takeBackUpload, uploadPacks } from "./upload-packs.js";

const NO_WORK_TREES: ReadonlyMap<string, WorkTreeUse> = new Map();
/** A quarantine that is opened so soon after a snapshot has the same objects behind it. */
const SEEN_MS_MAX = 10_000;

export interface StoredRepositoryOptions {
  readonly name: string;
  readonly core: StoredCore;
  /** Read when it was opened, for what is asked first. @default it is asked for */
  readonly opened?: RepositoryRecord | undefined;
  /** When it was opened. */
  readonly pruneEpoch: number;
  readonly bucket: Bucket;
  readonly metadata: MetadataStore;
  readonly cache: ObjectCache;
  readonly shelf: PackShelf;
  readonly spoolDirectory: string;
  /** Name of the metadata's database. */
  readonly outboxDatabase: string | undefined;
  /** Blobs from this size on are kept as chunks. */
  readonly largeBlobBytesMin: number;
  /** Of this server: who is asked when an upload lies open. */
  readonly owner: string;
  /** What no ref leads to is kept for so long. */
  readonly garbageGraceMs: number;
  readonly settings: (name: string) => RepositorySettings;
  readonly onClose: () => void;
}

export class StoredRepository implements Repository {
  readonly name: string;
  readonly objectFormat: ObjectFormat;
  readonly id: string;
  readonly stableId: string;
  readonly refs: RefStore;
  readonly packMaintenance: PackMaintenance;
  readonly bundles: RepositoryBundles;
  readonly addressOfPack?: NonNullable<Repository["addressOfPack"]>;
  readonly #options: StoredRepositoryOptions;
  readonly #staged = new StagedPacks();
  #opened: RepositoryRecord | undefined;
  /** Of the last snapshot, for the quarantine of the push that it was taken for. */
  #seen: { readonly state: RepositoryState; readonly atMs: number } | undefined;
  #isClosed = false;

  constructor(options: StoredRepositoryOptions) {
    const { core, name, pruneEpoch } = options;
    this.#options = options;
    this.#opened = options.opened;
    this.name = name;
    this.id = `object-store-${core.id}`;
    this.stableId = core.id;
    this.objectFormat = core.objectFormat;
    this.refs = new StoredRefs({
      core,
      pruneEpoch,
      staged: this.#staged,
      withObjects: (state, body) => this.#withObjects(state, body),
      outboxDatabase: options.outboxDatabase,
    });
    this.packMaintenance = createStoredPackMaintenance(options);
    this.bundles = createStoredBundles(options);
    const presign = options.bucket.presign?.bind(options.bucket);
    if (presign !== undefined)
      this.addressOfPack = async (pack, expiresSeconds) =>
        options.shelf.isAlone(pack) ? presign(pack.key, { expiresSeconds }) : undefined;
  }

  async settings(): Promise<RepositorySettings> {
    return this.#options.settings(this.name);
  }

  async snapshot({ onlyRefs = false }: SnapshotOptions = {}): Promise<Snapshot> {
    const { core } = this.#options;
    const opened = this.#opened;
    this.#opened = undefined;
    const state = opened === undefined ? (await core.current()).state : await core.from(opened);
    this.#seen = { state, atMs: performance.now() };
    return this.#snapshotOf(state, onlyRefs);
  }

  async #snapshotOf(state: RepositoryState, onlyRefs = false): Promise<Snapshot> {
    const { core } = this.#options;
    const view =
      onlyRefs && this.#staged.isEmpty
        ? new LateObjects(this.objectFormat, () => core.view(state))
        : await core.view(state);
    const staged = this.#staged.view();
    let isReleased = false;
    return {
      version: `${state.rootId}${staged.version}`,
      head: state.snapshot.head,
      refs: state.snapshot,
      objects: view instanceof LateObjects ? view : this.#withStaged(view, staged),
      shallow: changeShallow(state.shallow, staged.shallow),
      alternateTips: [],
      release: () => {
        if (isReleased) return;
        isReleased = true;
        view.release();
        for (const { release } of staged.packs) release();
      },
    };
  }

  async openQuarantine(): Promise<Quarantine> {
    const { core, cache, spoolDirectory } = this.#options;
    const seen = this.#seen;
    const isFresh = seen !== undefined && performance.now() - seen.atMs < SEEN_MS_MAX;
    const state = isFresh ? core.newest(seen.state) : (await core.current()).state;
    return new StoredQuarantine({
      view: await core.view(state),
      spoolDirectory,
      makeRoom: () => cache.makeRoom(),
      publish: (packs, shallow, early, records) => this.#publish(packs, shallow, early, records),
      beginUpload: (spooled) => beginEarlyUpload(this.#options, spooled),
    });
  }

  async checkedOutBranches(): Promise<ReadonlyMap<string, WorkTreeUse>> {
    return NO_WORK_TREES;
  }

  async openFile(path: string): Promise<RepositoryFile | undefined> {
    return openServedFile(path, await this.snapshot());
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#options.onClose();
  }

  async #withObjects<T>(state: RepositoryState, body: (objects: ObjectReader) => Promise<T>): Promise<T> {
    const snapshot = await this.#snapshotOf(state);
    try {
      return await body(snapshot.objects);
    } finally {
      snapshot.release();
    }
  }

  #withStaged({ reader }: ObjectsView, { packs }: StagedView): ObjectReader {
    if (packs.length === 0) return reader;
    return createObjectDatabase({
      objectFormat: this.objectFormat,
      packs: [...packs.map(({ pack }) => pack), ...reader.packs],
      previousLookup: reader.lookup,
    });
  }

  async #publish(
    packs: readonly SpooledPack[],
    shallow: ShallowChange,
    early: readonly EarlyUpload[],
    records: ReadonlyMap<string, RecordedPush>,
  ): Promise<PublishedPacks> {
    await this.#options.core.current();
    if (packs.length === 0 && early.length === 0 && isNoChange(shallow))
      return { settle: async () => undefined };
    const uploads = [
      ...early.map((each) => each.finish()),
      ...(packs.length === 0 ? [] : [uploadPacks(this.#options, packs, { source: "push", level: 0 })]),
    ];
    const results = await Promise.allSettled(uploads);
    const uploaded = results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
    const uploadIds = uploaded.map(({ id }) => id);
    try {
      for (const result of results) if (result.status === "rejected") throw result.reason;
      const staged = await this.#stage(
        uploadIds,
        uploaded.flatMap((each) => each.packs.map((pack) => withRecord(pack, records))),
        shallow,
      );
      const stopKeeping = keepUploads(this.#options.metadata, uploadIds);
      return { settle: () => this.#settle(staged).finally(stopKeeping) };
    } catch (error) {
      // Nobody will ever commit them.
      for (const id of uploadIds) await takeBackUpload(this.#options, id).catch(() => undefined);
      throw error;
    }
  }

  async #stage(
    uploadIds: readonly string[],
    packs: readonly StoredPack[],
    shallow: ShallowChange,
  ): Promise<StagedUpload> {
    const leaves = packs.map(unnamedLeaf);
    const lent = await this.#options.shelf.openAll(leaves, this.objectFormat);
    const upload: StagedUpload = {
      uploadIds,
      packs: packs.map((stored, i) => ({ stored, lent: lent[i] as (typeof lent)[number] })),
      shallow,
    };
    this.#staged.add(upload);
    return upload;
  }

  async #settle(upload: StagedUpload): Promise<void> {
    if (!this.#staged.has(upload)) return;
    try {
      await this.#options.core.commit({
        kind: "push",
        draft: () => (this.#staged.has(upload) ? this.#staged.draft({}, [upload]) : undefined),
      });
    } catch (error) {
      // The repository was deleted meanwhile: what was uploaded for it goes.
      if (!isGitwharfError(error, "storage/not-found")) throw error;
      for (const id of upload.uploadIds) await takeBackUpload(this.#options, id);
    } finally {
      this.#staged.remove(upload);
    }
  }
}

/** Of a pack that became another one, for its chunks, what was shown is as true: it has the same objects in the same order. */
function withRecord(stored: StoredPack, records: ReadonlyMap<string, RecordedPush>): StoredPack {
  const { leaf, chunked } = stored;
  const { trailer, moves } = chunked?.former ?? { trailer: leaf.trailer, moves: [] };
  const record = records.get(trailer);
  if (record === undefined) return stored;
  return {
    ...stored,
    leaf: { ...leaf, recordedPush: { ...record, sentEnd: movedTo(moves, record.sentEnd) } },
  };
}
