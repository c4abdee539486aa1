/**
 * A repository, and a store of repositories. Backends: `disk/`, `memory/`; the contract suites in `suites/` say
 * what each must keep.
 */
import type { ObjectFormat } from "../../object/object-format.js";
import type { ObjectId } from "../../object/object-id.js";
import type { Pack } from "../../pack/pack.js";
import type { ObjectReader } from "./object-reader.js";
import type { PackMaintenance } from "./pack-maintenance.js";
import type { PointInTime } from "./past-name.js";
import type { RepositoryBundles } from "./repository-bundles.js";
import type { Quarantine } from "./quarantine.js";
import type { Head, RefSnapshot, RefStore } from "./ref-store.js";
import type { RepositorySettings } from "./repository-settings.js";
import type { MultiPackIndexStore } from "./multi-pack-index-store.js";
import type { SideFileStore } from "./side-file-store.js";
import type { Upkeep } from "./upkeep.js";

export interface RepositoryStore {
  /**
   * `name` is a checked repository name (`parseRepositoryName`) without `.git`: one or more segments joined by `/`.
   * undefined when there is none. The caller closes what it opened; opening twice shares caches.
   */
  open(name: string, options?: OpenRepositoryOptions): Promise<Repository | undefined>;
  /** @throws storage/exists; when two callers race, exactly one creates */
  create(name: string, options?: CreateRepositoryOptions): Promise<Repository>;
  /** For a push that makes its own repository: it comes to be with what was pushed, or not at all. @throws storage/exists */
  prepare(name: string, options?: CreateRepositoryOptions): Promise<PreparedRepository>;
  /** @throws storage/not-found */
  delete(name: string): Promise<void>;
  /** Names in byte order. */
  list(): AsyncIterable<string>;
  /** The same from behind a name on, as pages are read, with what is known of each unopened. @default by way of `list` */
  entries?(options: { readonly after?: string | undefined }): AsyncIterable<RepositoryEntry>;
  /** Of the repository with this `stableId`. Absent where repositories have nothing but their names. */
  nameOf?(stableId: string): Promise<string | undefined>;
  /**
   * Requests at work go on. Of several for one name exactly one wins. Absent where it cannot be done.
   * @throws storage/not-found, storage/exists
   */
  rename?(name: string, to: string): Promise<void>;
  /**
   * As it was, to be read: whoever writes to it is refused (storage/read-only). The caller closes it. Absent where nothing is
   * kept of what was. @throws storage/not-found when there was nothing then, or it is kept no more
   */
  openAt?(name: string, at: PointInTime): Promise<Repository>;
  /** Names of those that may have to be looked after though nobody pushes to them. @default none */
  unattended?(): AsyncIterable<string>;
  /** For health checks: rejects when repositories cannot be read and written now. @default taken for well */
  probe?(): Promise<void>;
  /** The same part by part, under the names that health checks tell. @default `probe` as a whole */
  readonly probes?: Readonly<Record<string, () => Promise<void>>>;
  close(): Promise<void>;
}

/** What a list tells of a repository. */
export interface RepositoryEntry {
  readonly name: string;
  readonly stableId?: string;
}

/** A repository that nobody finds until it is put in its place; what a crash leaves of it is found by nobody either. */
export interface PreparedRepository {
  readonly repository: Repository;
  /**
   * Puts it in its place, durably, with all that it holds: of several for one name exactly one gets there. `open` finds
   * it then; `repository` is only read from here on.
   * @throws storage/exists
   */
  place(): Promise<void>;
  /** Closes it, and removes it if it was not placed. Idempotent. */
  discard(): Promise<void>;
}

export interface OpenRepositoryOptions {
  /**
   * It is opened for one request that has come already: its first snapshot may show what was there when it was opened.
   * @default false
   */
  readonly forRequest?: boolean;
}

export interface CreateRepositoryOptions {
  /** @default "sha1" */
  readonly objectFormat?: ObjectFormat;
  /** @default "main" */
  readonly defaultBranch?: string;
  /** How the refs are kept; what keeps nothing on a disk pays no regard to it. @default "files" */
  readonly refFormat?: RefFormat;
}

/** `extensions.refStorage`: a file for each ref and packed-refs, or the binary tables of git 2.45 and later. */
export type RefFormat = "files" | "reftable";

export interface Repository {
  readonly name: string;
  readonly objectFormat: ObjectFormat;
  /** Names this repository's identity for caches; a repository deleted and made anew has another. */
  readonly id: string;
  /** It stays when the repository is renamed, and `nameOf` finds it by it. */
  readonly stableId?: string;
  /** The repository's own configuration, safe list only, re-read when it changed. */
  settings(): Promise<RepositorySettings>;
  /** Refs and objects of one instant: everything the refs name is readable. Must be released. */
  snapshot(options?: SnapshotOptions): Promise<Snapshot>;
  openQuarantine(): Promise<Quarantine>;
  readonly refs: RefStore;
  /** The path of the git directory where the backend has one (hooks, CLI). */
  readonly gitDirectory?: string;
  /** Branches checked out in the main work tree or linked worktrees (`denyCurrentBranch`): full ref names. */
  checkedOutBranches(): Promise<ReadonlyMap<string, WorkTreeUse>>;
  /** Raw bytes for dumb HTTP: `HEAD`, `objects/…`; undefined when absent or not served. */
  openFile?(path: string): Promise<RepositoryFile | undefined>;
  /** Absent where there is nothing to look after. */
  readonly packMaintenance?: PackMaintenance;
  /** Absent where commit-graph and bitmaps are kept in another way, or not at all. */
  readonly sideFiles?: SideFileStore;
  /** Absent where packs are found in another way. */
  readonly multiPackIndex?: MultiPackIndexStore;
  /** Absent where others have no part in the files. */
  readonly upkeep?: Upkeep;
  /** Absent where none can be kept. */
  readonly bundles?: RepositoryBundles;
  /**
   * An address from which a pack of a snapshot, just as it is, may be had without credentials for a while; undefined: this one has
   * none. Nothing is asked of anybody for it. Absent where none has.
   */
  addressOfPack?(pack: Pack, expiresSeconds: number): Promise<string | undefined>;
  close(): Promise<void>;
}

export interface SnapshotOptions {
  /**
   * It is the refs that are asked for, and hardly ever an object: a backend that is far from its objects need not look for
   * them before. Of `objects` nothing but `read`, `readHeader` and `has` is asked then. @default false
   */
  readonly onlyRefs?: boolean;
}

export interface WorkTreeUse {
  /** Directory of the work tree. */
  readonly path: string;
  /** Its git directory: of a linked work tree the one below `worktrees/`. */
  readonly gitDirectory?: string;
  readonly bare: boolean;
}

export interface RepositoryFile {
  readonly sizeBytes: number;
  readonly modifiedMs: number;
  /** Bytes [start, end). Closes the file when it ends or is returned early. */
  read(range: { readonly start: number; readonly end: number }): AsyncIterable<Uint8Array>;
  close(): Promise<void>;
}

export interface Snapshot {
  /** Equal versions of one repository id mean equal refs, objects and shallow list: the key of every cache. */
  readonly version: string;
  readonly head: Head;
  readonly refs: RefSnapshot;
  readonly objects: ObjectReader;
  /** Commits whose parents are absent (a shallow repository). */
  readonly shallow: ReadonlySet<ObjectId>;
  /** Ref tips of alternates (`.have` lines). */
  readonly alternateTips: readonly ObjectId[];
  release(): void;
}
