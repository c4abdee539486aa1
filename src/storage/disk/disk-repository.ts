/**
 * One repository on disk, shared with every git process that works on it at the same time. Nothing is assumed to
 * stay: each snapshot looks (by a few `stat` calls) whether refs, packs, alternates, shallow list or the whole
 * repository have changed.
 *
 * Invariants:
 *  1. Refs are read before packs are listed, so that what the refs name is there or was moved (and moved objects are
 *     found by listing the packs again).
 *  2. Packs that a snapshot holds stay open until it is released.
 *  3. Objects are durable and visible before a ref names them (`DiskQuarantine.publish`).
 */
import { GitwharfError } from "../../base/errors.js";
import { isPromise, type MaybePromise } from "../../base/maybe-promise.js";
import type { ObjectFormat } from "../../object/object-format.js";
import type { ObjectId } from "../../object/object-id.js";
import type { PackMaintenance } from "../contracts/pack-maintenance.js";
import type { Quarantine } from "../contracts/quarantine.js";
import type { RefSnapshot, RefStore } from "../contracts/ref-store.js";
import type { Repository, RepositoryFile, Snapshot, WorkTreeUse } from "../contracts/repository.js";
import type { RepositorySettings } from "../contracts/repository-settings.js";
import type { MultiPackIndexStore } from "../contracts/multi-pack-index-store.js";
import type { SideFileStore } from "../contracts/side-file-store.js";
import type { Upkeep } from "../contracts/upkeep.js";
import { peelTag } from "../peel-tag.js";
import { AlternateTips } from "./alternate-tips.js";
import { CachedFile } from "./cached-file.js";
import { createDiskPackMaintenance } from "./disk-pack-maintenance.js";
import { DiskQuarantine } from "./disk-quarantine.js";
import { createDiskMultiPackIndex } from "./disk-multi-pack-index.js";
import { createDiskSideFiles } from "./disk-side-files.js";
import { createDiskUpkeep } from "./disk-upkeep.js";
import { identityOf, readStamp } from "./file-stamp.js";
import type { GitDirectory } from "./git-directory.js";
import type { ObjectDirectoryPool } from "./object-directory.js";
import type { ObjectsView } from "./objects-view.js";
import { openRefStore } from "./open-ref-store.js";
import { RepositoryConfig } from "./repository-config.js";
import type { RepositoryFormat } from "./repository-format.js";
import { RepositoryObjects } from "./repository-objects.js";
import { RepositorySnapshots } from "./repository-snapshots.js";
import { openServedFile } from "../served-file.js";
import { changeShallowFile, parseShallow, SHALLOW_BYTES_MAX } from "./shallow-file.js";
import { removeLeftovers } from "./leftovers.js";
import { readCheckedOutBranches } from "./work-trees.js";

export interface OpenDiskRepositoryOptions {
  readonly name: string;
  readonly location: GitDirectory;
  readonly durability: "sync" | "none";
  readonly pool: ObjectDirectoryPool;
  readonly mayBorrowFrom: (path: string) => boolean;
  /** The name of a repository that borrows objects from such a directory. @default nobody knows */
  readonly findBorrower?: ((objectsDirectory: string) => Promise<string | undefined>) | undefined;
}

interface Parts {
  readonly identity: string;
  readonly config: RepositoryConfig;
  readonly format: RepositoryFormat;
  readonly objects: RepositoryObjects;
}

/** @throws storage/not-found, storage/unsupported, storage/bad-config, storage/io */
export async function openDiskRepository(options: OpenDiskRepositoryOptions): Promise<DiskRepository> {
  const { path, commonDirectory, workTree } = options.location;
  const stamp = await readStamp(path);
  if (stamp === undefined)
    throw new GitwharfError("storage/not-found", `repository '${options.name}' does not exist`);
  const looksBare = workTree === undefined && !path.endsWith("/.git");
  const config = new RepositoryConfig({ gitDirectory: path, commonDirectory, looksBare });
  const format = await config.format();
  const objects = await RepositoryObjects.open({
    path: `${commonDirectory}/objects`,
    objectFormat: format.objectFormat,
    pool: options.pool,
    mayBorrowFrom: options.mayBorrowFrom,
  });
  return new DiskRepository(options, { identity: identityOf(stamp), config, format, objects });
}

export class DiskRepository implements Repository {
  readonly name: string;
  readonly objectFormat: ObjectFormat;
  readonly id: string;
  readonly refs: RefStore;
  readonly gitDirectory: string;
  readonly packMaintenance: PackMaintenance;
  readonly sideFiles: SideFileStore;
  readonly multiPackIndex: MultiPackIndexStore;
  readonly upkeep: Upkeep;
  readonly #options: OpenDiskRepositoryOptions;
  readonly #parts: Parts;
  readonly #snapshots: RepositorySnapshots;
  readonly #tips: AlternateTips;
  readonly #quarantines = new Set<string>();
  readonly #sweeping: Promise<void>;
  #closed: Promise<void> | undefined;

  constructor(options: OpenDiskRepositoryOptions, parts: Parts) {
    const { path: gitDirectory, commonDirectory } = options.location;
    const { objectFormat, refFormat } = parts.format;
    this.#options = options;
    this.#parts = parts;
    this.name = options.name;
    this.objectFormat = objectFormat;
    this.id = `disk-${parts.identity}-${objectFormat}`;
    this.gitDirectory = gitDirectory;
    this.refs = openRefStore({
      gitDirectory,
      commonDirectory,
      objectFormat,
      refFormat,
      logAllRefUpdates: async () => (await this.settings()).core.logAllRefUpdates,
      sharedRepository: async () => (await this.settings()).core.sharedRepository,
      peel: (oid) => this.#peel(oid),
      durability: options.durability,
    });
    this.#tips = new AlternateTips(objectFormat);
    this.#snapshots = new RepositorySnapshots({
      refs: this.refs,
      objects: parts.objects,
      shallow: new CachedFile(`${commonDirectory}/shallow`, {
        parse: (bytes) => parseShallow(bytes, objectFormat),
        sizeBytesMax: SHALLOW_BYTES_MAX,
      }),
      tips: this.#tips,
      mustExist: () => this.#mustExist(),
    });
    this.packMaintenance = createDiskPackMaintenance({
      commonDirectory,
      packs: parts.objects.own.packs,
      sync: this.#sync,
      shared: async () => (await this.settings()).core.sharedRepository,
      isPrecious: async () => (await parts.config.format()).preciousObjects,
      openQuarantine: () => this.#openQuarantine(),
    });
    const beside = {
      commonDirectory,
      packs: parts.objects.own.packs,
      sync: this.#sync,
      shared: async () => (await this.settings()).core.sharedRepository,
      mustExist: () => this.#mustExist(),
    };
    this.sideFiles = createDiskSideFiles(beside);
    this.multiPackIndex = createDiskMultiPackIndex(beside);
    const { findBorrower } = options;
    this.upkeep = createDiskUpkeep({
      commonDirectory,
      refFormat,
      objects: parts.objects.own,
      refs: this.refs,
      sync: this.#sync,
      shared: async () => (await this.settings()).core.sharedRepository,
      isPrecious: async () => (await parts.config.format()).preciousObjects,
      graceMs: async () => (await this.settings()).upkeep.graceMs,
      snapshot: () => this.snapshot(),
      openQuarantine: () => this.#openQuarantine(),
      findBorrower: findBorrower === undefined ? undefined : () => findBorrower(this.#objectsDirectory),
    });
    this.#sweeping = removeLeftovers(this.#objectsDirectory, { inUse: this.#quarantines }).catch(
      () => undefined,
    );
  }

  /** Memory that it keeps between requests, in bytes, about. */
  get residentBytes(): number {
    return this.#parts.objects.residentBytes;
  }

  /** False when another repository stands in its place, or its format was changed. @throws storage/bad-config, storage/unsupported */
  async isCurrent(): Promise<boolean> {
    const [stamp, format] = await Promise.all([readStamp(this.gitDirectory), this.#parts.config.format()]);
    return (
      stamp !== undefined &&
      identityOf(stamp) === this.#parts.identity &&
      format.objectFormat === this.objectFormat &&
      format.refFormat === this.#parts.format.refFormat
    );
  }

  settings(): Promise<RepositorySettings> {
    return this.#parts.config.settings();
  }

  async snapshot(): Promise<Snapshot> {
    try {
      return await this.#snapshots.take();
    } catch (error) {
      throw await this.#explain(error);
    }
  }

  openQuarantine(): Promise<Quarantine> {
    return this.#openQuarantine();
  }

  async #openQuarantine(): Promise<DiskQuarantine> {
    try {
      const other = Promise.all([this.settings(), this.#mustExist()]);
      const [[settings], { view }] = await this.#snapshots.takeObjectsBeside(other);
      return this.#createQuarantine(settings, view);
    } catch (error) {
      throw await this.#explain(error);
    }
  }

  async checkedOutBranches(): Promise<ReadonlyMap<string, WorkTreeUse>> {
    const [{ core }, { head }] = await Promise.all([this.settings(), this.refs.snapshot()]);
    const { commonDirectory, workTree } = this.#options.location;
    return readCheckedOutBranches({
      commonDirectory,
      head,
      bare: core.bare,
      workTree,
      linkedHead: (gitDirectory) => this.#readLinkedHead(gitDirectory),
    });
  }

  async openFile(path: string): Promise<RepositoryFile | undefined> {
    return openServedFile(path, await this.snapshot());
  }

  /** Opens nothing anew: lets go of packs that have gone from the disk. For repositories that nobody uses just now. */
  async releaseVanished(): Promise<void> {
    await this.#parts.objects.releaseVanished();
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    await this.#sweeping;
    this.#parts.objects.close();
    await Promise.all([this.refs.close(), this.#tips.close()]);
  }

  get #objectsDirectory(): string {
    return `${this.#options.location.commonDirectory}/objects`;
  }

  get #sync(): boolean {
    return this.#options.durability === "sync";
  }

  /** @param view taken over */
  #createQuarantine(settings: RepositorySettings, view: ObjectsView): DiskQuarantine {
    const { commonDirectory } = this.#options.location;
    const { objectFormat } = this;
    const sync = this.#sync;
    return new DiskQuarantine({
      objectsDirectory: this.#objectsDirectory,
      view,
      packs: this.#parts.objects.own.packs,
      sync,
      shared: settings.core.sharedRepository,
      mustExist: () => this.#mustExist(),
      changeShallow: (change) => changeShallowFile(commonDirectory, change, { objectFormat, sync }),
      onDirectory: (path, inUse) => {
        if (inUse) this.#quarantines.add(path);
        else this.#quarantines.delete(path);
      },
    });
  }

  /** @throws storage/not-found */
  async #mustExist(): Promise<void> {
    const stamp = await readStamp(this.gitDirectory);
    if (stamp === undefined || identityOf(stamp) !== this.#parts.identity) {
      throw new GitwharfError("storage/not-found", `repository '${this.name}' was deleted`);
    }
  }

  /** For packed-refs, which tell what tags stand for. Thousands are asked for at once: the view at hand mostly knows. */
  #peel(oid: ObjectId): MaybePromise<ObjectId | undefined> {
    const view = this.#parts.objects.current;
    if (view?.reader.locate(oid) === undefined)
      return this.#snapshots
        .takeObjectsBeside(Promise.resolve())
        .then(([, { view: now }]) => peelIn(now, oid));
    view.retain();
    return peelIn(view, oid);
  }

  /** What fails because the repository has gone fails for that reason. */
  async #explain(error: unknown): Promise<unknown> {
    try {
      await this.#mustExist();
      return error;
    } catch (gone) {
      return gone;
    }
  }

  async #readLinkedHead(gitDirectory: string): Promise<RefSnapshot["head"] | undefined> {
    const { commonDirectory } = this.#options.location;
    const store = openRefStore({
      gitDirectory,
      commonDirectory,
      objectFormat: this.objectFormat,
      refFormat: this.#parts.format.refFormat,
      durability: "none",
    });
    try {
      return (await store.snapshot()).head;
    } finally {
      await store.close();
    }
  }
}

/** @param view taken over */
function peelIn(view: ObjectsView, oid: ObjectId): MaybePromise<ObjectId | undefined> {
  const peeled = peelTag(view.reader, oid);
  if (isPromise(peeled)) return peeled.finally(() => view.release());
  view.release();
  return peeled;
}
