/**
 * Repositories in a bucket and a database: packs and their indexes lie in the bucket, under keys that are written once; the
 * state of a repository is one root, a hash in one row. Any number of processes may serve the same repositories.
 *
 * Invariants:
 * 1. Whatever a committed root names is durable before the commit.
 * 2. No call to the bucket is made inside a transaction; nothing lists the bucket while somebody waits.
 * 3. No clock decides what is right: who changes a row does.
 */
import { randomUUID } from "node:crypto";
import { LRUCache } from "lru-cache";
import { GitwharfError, isGitwharfError } from "../../base/errors.js";
import type { PointInTime } from "../contracts/past-name.js";
import { parseRepositoryName } from "../contracts/repository-name.js";
import type {
  CreateRepositoryOptions,
  OpenRepositoryOptions,
  PreparedRepository,
  Repository,
  RepositoryEntry,
  RepositoryStore,
} from "../contracts/repository.js";
import type { RepositorySettings } from "../contracts/repository-settings.js";
import { createDirectoryProbe } from "../disk/probe-directory.js";
import { DEFAULT_REPOSITORY_SETTINGS } from "../repository-settings-defaults.js";
import { type BackgroundJanitorOptions, checkJanitorOptions, startJanitor } from "./background-janitor.js";
import type { Bucket } from "./bucket/bucket.js";
import { ObjectCache, type ObjectCacheOptions } from "./cache/object-cache.js";
import type { ExportOptions, ExportSummary } from "./export-state.js";
import { LARGE_BLOB_BYTES_MIN } from "./large-blobs.js";
import { type JanitorLimits, type JanitorReport, runJanitor } from "./janitor.js";
import { openLocalDirectory } from "./local-directory.js";
import type { MetadataStore, RepositoryRecord } from "./metadata/metadata-store.js";
import { NodeCache } from "./node-cache.js";
import { PackShelf } from "./pack-shelf.js";
import { createPastStore } from "./past-store.js";
import type { Generation } from "./past-states.js";
import { firstState } from "./repository-state.js";
import { createStoreHistory, findLive } from "./store-history.js";
import { StoredCore } from "./stored-core.js";
import { StoredRepository } from "./stored-repository.js";
import type { Verification, VerifyOptions } from "./verify-state.js";
import {
  type BackgroundWitnessesOptions,
  checkWitnessOptions,
  startWitnesses,
} from "./witnesses/background-witnesses.js";
import { type WitnessReport, writeWitnesses } from "./witnesses/write-witnesses.js";

/** A store of repositories that remembers what they were, copies none to fork it, and can prove what it holds. */
export interface ObjectStore extends RepositoryStore {
  /**
   * Another repository that is as this one is now, whatever it holds: nothing is copied, and what becomes of one means
   * nothing to the other. @throws storage/exists, storage/not-found
   */
  fork(parent: string, name: string): Promise<Repository>;
  /** Into another namespace, too. Who has it open goes on. @throws storage/exists, storage/not-found */
  rename(from: string, to: string): Promise<void>;
  /** Newest first, from the one before `before`. @default limit 100. @throws storage/not-found */
  history(
    name: string,
    options?: { readonly before?: number; readonly limit?: number },
  ): Promise<readonly Generation[]>;
  /**
   * As it was, to be read: whoever writes to it is refused (storage/read-only). The caller closes it.
   * @throws storage/not-found when there was nothing then, or it is kept no more
   */
  openAt(name: string, at: PointInTime): Promise<Repository>;
  /** All of them as they were, to be read, for a server of its own; closing it closes nothing. */
  asOf(timeMs: number): RepositoryStore;
  /**
   * Makes refs and objects what they were, as the next generation; those before stay in the history. A push that is under
   * way is refused. Handlers and events are not told. @returns the new generation. @throws storage/not-found
   */
  restore(name: string, at: PointInTime): Promise<Generation>;
  /** Those that can be brought back, deleted longest ago first. */
  listDeleted(): AsyncIterable<DeletedRepository>;
  /**
   * @param which the id of a deleted repository, or the name that it had: then the one that was deleted last
   * @param name @default the one that it had
   * @returns its name. @throws storage/exists, storage/not-found
   */
  undelete(which: string, name?: string): Promise<string>;
  /** Reads all that its root names, and compares hashes. @throws storage/not-found, storage/io */
  verify(name: string, options?: VerifyOptions): Promise<Verification>;
  /** What the janitor does in the background, now and for all repositories; safe while others serve them. @throws base/aborted */
  clean(options?: JanitorLimits & { readonly signal?: AbortSignal | undefined }): Promise<JanitorReport>;
  /** Writes into the bucket what has changed and is not witnessed there yet, now and for all repositories. @throws base/aborted, storage/io */
  writeWitnesses(options?: { readonly signal?: AbortSignal | undefined }): Promise<WitnessReport>;
  /** Makes a bare repository on disk of what it is, or was. @throws storage/exists, storage/not-found, storage/corrupt, storage/io */
  exportTo(
    name: string,
    directory: string,
    options?: ExportOptions & { readonly at?: PointInTime | undefined },
  ): Promise<ExportSummary>;
}

export interface DeletedRepository {
  readonly id: string;
  readonly formerName: string;
  readonly deletedAtMs: number;
  readonly generation: number;
  readonly root: string;
}

export interface ObjectStoreOptions {
  /** Closed with the store. */
  readonly bucket: Bucket;
  /** The caller's to close. */
  readonly metadata: MetadataStore;
  /** Name of the metadata's database (`databaseName`): events that a server keeps in it are written with the refs. */
  readonly outboxDatabase?: string | undefined;
  /** Where pushes are kept until they are in the bucket, and copies of what is read from it. @default a directory of its own in the temporary directory */
  readonly localDirectory?: string;
  /** Of copies of what is in the bucket, on the local disk. @default 10 GiB */
  readonly cacheBytesMax?: number;
  /** Blobs from this size on are kept as chunks, which all versions of them share. Infinity: none. @default 1 MiB */
  readonly largeBlobBytesMin?: number;
  /** How much of an object is fetched at once. @default as `ObjectCacheOptions` has it */
  readonly fetching?: Pick<ObjectCacheOptions, "blockBytes" | "wholeBytesMax" | "aheadBytesMax">;
  /** The settings of each repository, asked whenever they are needed. @default those of a repository that configures nothing */
  readonly settings?: (name: string) => RepositorySettings;
  /** Removes what nobody needs any more; of several processes one at a time does. false: others see to it. */
  readonly janitor?: BackgroundJanitorOptions | false;
  /** What the database says is written into the bucket as well, from which it can be made again. @default false */
  readonly witnesses?: BackgroundWitnessesOptions | false;
  /** How long objects to which no ref leads are kept, from when garbage collection found that. @default 1 day */
  readonly garbageGraceMs?: number;
}

/** Repositories that nobody uses whose state is kept in memory. */
const IDLE_MAX = 1000;
const IDLE_BYTES_MAX = 512 * 1024 * 1024;
const GARBAGE_GRACE_MS = 24 * 60 * 60 * 1000;
const LISTED_AT_ONCE = 1000;
const STABLE_ID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** @throws server/bad-configuration, storage/io */
export async function openObjectStore(options: ObjectStoreOptions): Promise<ObjectStore> {
  const { bucket, metadata } = options;
  const { garbageGraceMs = GARBAGE_GRACE_MS } = options;
  const settings = options.settings ?? (() => DEFAULT_REPOSITORY_SETTINGS);
  if (options.janitor !== undefined && options.janitor !== false) checkJanitorOptions(options.janitor);
  checkNumbers(options);
  const witnessing = options.witnesses ?? false;
  if (witnessing !== false) checkWitnessOptions(witnessing);
  const local = await openLocalDirectory(options.localDirectory);
  const { spoolDirectory } = local;
  const cache: ObjectCache = new ObjectCache({
    bucket,
    directory: local.cacheDirectory,
    // What is kept at hand for those who come next must not fill the disk, or use up the descriptors.
    onFull: () => shelf.closeIdle() || idle.pop() !== undefined,
    ...(options.cacheBytesMax === undefined ? {} : { bytesMax: options.cacheBytesMax }),
    ...options.fetching,
  });
  const shelf = new PackShelf({ cache, bucket });
  const nodes = new NodeCache(metadata);
  const owner = randomUUID();
  const janitor =
    options.janitor === false ? undefined : startJanitor({ bucket, metadata, owner }, options.janitor);
  const witnesses =
    witnessing === false ? undefined : startWitnesses({ bucket, metadata, owner }, witnessing);
  const used = new Map<string, { readonly core: StoredCore; handles: number }>();
  const idle = new LRUCache<string, StoredCore>({
    max: IDLE_MAX,
    maxSize: IDLE_BYTES_MAX,
    sizeCalculation: ({ residentBytes }) => Math.min(residentBytes, IDLE_BYTES_MAX),
    dispose: (core, id, reason) => {
      if (reason === "evict") core.close();
    },
  });

  /** Of all handles on one repository. */
  const useCore = (record: RepositoryRecord): { readonly core: StoredCore; readonly release: () => void } => {
    const { id } = record;
    let entry = used.get(id);
    if (entry === undefined) {
      const core = idle.get(id) ?? new StoredCore({ record, metadata, nodes, shelf });
      idle.delete(id);
      entry = { core, handles: 0 };
      used.set(id, entry);
    }
    entry.handles++;
    return {
      core: entry.core,
      release: () => {
        const current = used.get(id);
        if (current === undefined || --current.handles > 0) return;
        used.delete(id);
        idle.set(id, current.core);
      },
    };
  };

  const handle = (
    record: RepositoryRecord,
    name: string,
    { forRequest = false }: OpenRepositoryOptions = {},
  ): StoredRepository => {
    const { core, release } = useCore(record);
    return new StoredRepository({
      name,
      core,
      opened: forRequest ? record : undefined,
      pruneEpoch: record.pruneEpoch,
      bucket,
      metadata,
      cache,
      shelf,
      spoolDirectory,
      outboxDatabase: options.outboxDatabase,
      largeBlobBytesMin: options.largeBlobBytesMin ?? LARGE_BLOB_BYTES_MIN,
      owner,
      garbageGraceMs,
      settings,
      onClose: release,
    });
  };

  const make = async (
    name: string | undefined,
    { objectFormat = "sha1", defaultBranch = "main" }: CreateRepositoryOptions,
  ): Promise<RepositoryRecord> => {
    const { rootId, nodes: fresh } = firstState(objectFormat, `refs/heads/${defaultBranch}`);
    const record = await metadata.create({
      ...(name === undefined ? {} : { name }),
      objectFormat,
      root: rootId,
      nodes: fresh,
    });
    nodes.add(record.networkId, fresh);
    return record;
  };

  const prepare = async (text: string, creation: CreateRepositoryOptions): Promise<PreparedRepository> => {
    const name = parseRepositoryName(text);
    if ((await metadata.find(name)) !== undefined) throw exists(name);
    const record = await make(undefined, creation);
    const repository = handle(record, name);
    let isPlaced = false;
    let discarding: Promise<void> | undefined;
    const discard = async (): Promise<void> => {
      await repository.close();
      if (isPlaced) return;
      try {
        await metadata.purge(record.id);
      } catch (error) {
        // It has its place after all: the answer was lost.
        if (!isGitwharfError(error, "storage/not-found")) throw error;
      }
    };
    return {
      repository,
      async place() {
        await metadata.place(record.id, name);
        isPlaced = true;
      },
      discard: () => (discarding ??= discard()),
    };
  };

  const close = async (): Promise<void> => {
    await janitor?.close();
    await witnesses?.close();
    for (const { core } of used.values()) core.close();
    for (const core of idle.values()) core.close();
    used.clear();
    idle.clear();
    shelf.close();
    try {
      await cache.close();
      await bucket.close();
    } finally {
      await local.close();
    }
  };
  let closing: Promise<void> | undefined;
  const probes = {
    bucket: () => bucket.probe(),
    metadata: () => metadata.probe(),
    localDisk: createDirectoryProbe(spoolDirectory),
  };

  const store: ObjectStore = {
    ...createStoreHistory({
      bucket,
      metadata,
      nodes,
      shelf,
      settings,
      useCore,
      handle,
      pastStore: (timeMs) => createPastStore(store, timeMs),
    }),
    async open(text, opening): Promise<Repository | undefined> {
      const name = parseRepositoryName(text);
      const record = await metadata.find(name);
      return record === undefined ? undefined : handle(record, name, opening);
    },
    async create(text, creation = {}) {
      const name = parseRepositoryName(text);
      return handle(await make(name, creation), name);
    },
    async prepare(text, creation = {}) {
      return prepare(text, creation);
    },
    async delete(text) {
      await metadata.delete((await findLive(metadata, text)).record.id);
    },
    async *list() {
      for await (const { name } of entriesOf(metadata)) yield name;
    },
    entries: ({ after }) => entriesOf(metadata, after),
    async nameOf(id) {
      const record = STABLE_ID.test(id) ? await metadata.get(id) : undefined;
      return record?.state === "live" ? (record.name ?? undefined) : undefined;
    },
    async *unattended() {
      // Those whose unreachable objects have waited for long enough.
      const which = { kind: "gc-unreachable", olderThanMs: garbageGraceMs, limit: LISTED_AT_ONCE } as const;
      for (let after = ""; ; ) {
        const page = await metadata.listHolders({ ...which, after });
        for (const { name } of page) yield name;
        after = page.at(-1)?.id ?? "";
        if (page.length < LISTED_AT_ONCE) return;
      }
    },
    async clean({ signal, ...limits } = {}) {
      const stop = signal === undefined ? {} : { signal };
      return runJanitor({ bucket, metadata, networksMax: Number.POSITIVE_INFINITY, ...limits, ...stop });
    },
    writeWitnesses: ({ signal } = {}) => writeWitnesses({ bucket, metadata, signal }),
    async probe() {
      await Promise.all(Object.values(probes).map((each) => each()));
    },
    probes,
    close: () => (closing ??= close()),
  };
  return store;
}

/** A configuration file may say anything. @throws server/bad-configuration */
function checkNumbers(options: ObjectStoreOptions): void {
  for (const name of ["largeBlobBytesMin", "cacheBytesMax", "garbageGraceMs"] as const) {
    const value: unknown = options[name];
    if (value === undefined || (typeof value === "number" && value >= 0)) continue;
    throw new GitwharfError("server/bad-configuration", `${name} of the object store is a number from 0 up`);
  }
}

async function* entriesOf(metadata: MetadataStore, from?: string): AsyncGenerator<RepositoryEntry> {
  for (let after = from; ; ) {
    const page = await metadata.list({
      ...(after === undefined ? {} : { after }),
      limit: LISTED_AT_ONCE,
    });
    for (const { id, name } of page) if (name !== null) yield { name, stableId: id };
    after = page.at(-1)?.name ?? undefined;
    if (page.length < LISTED_AT_ONCE || after === undefined) return;
  }
}

function exists(name: string): GitwharfError {
  return new GitwharfError("storage/exists", `repository '${name}' exists already`);
}
