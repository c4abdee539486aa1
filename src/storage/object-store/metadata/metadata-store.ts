/**
 * The rows behind the object store: which repository has which root, the nodes of the roots' trees, which keys are in the
 * bucket and which may come to be there. Rows decide; the bucket holds bytes and decides nothing.
 *
 * One implementation on SQLite and on PostgreSQL (`create-metadata-store.ts`); `metadata-store-suite.ts` says what it keeps.
 *
 * What a committed root names is there before it is committed, and stays as long as some kept root names it. Three rules
 * make that hold without any clock:
 * 1. A key is always listed: by an upload row from before it is written, then by a pack row, then by an upload row that was
 *    taken, until it is gone from the bucket. A crash anywhere leaves nothing unlisted.
 * 2. Who changes an upload row decides: a commit, which needs it open, or the janitor, who takes it. Never both.
 * 3. A new root is made of the current one (`expectedGeneration`), of one that is kept (`restoredGeneration`) and of what
 *    its own uploads brought, nothing else. What no kept root names can therefore not come back. Containers of chunks alone
 *    may be named again (`MetadataCommit.held`): that counts on their rows, and who has not seen it cannot drop them.
 *
 * Errors of all: storage/io when the database does not answer or the outcome cannot be told.
 */
import type { EventDraft } from "../../../database/add-events.js";
import type { ObjectFormat } from "../../../object/object-format.js";
import type { RecipeChunk } from "../chunks/recipe.js";
import type { NodeId } from "../tree/node.js";
import type { LeaseStore } from "./lease-store.js";
import type { WitnessStore } from "./witness-store.js";

/** "prepared": found by nobody until it is placed. "deleted": found by nobody, kept until it is purged. */
export type RepositoryState = "prepared" | "live" | "deleted";

export interface RepositoryRecord {
  /** Random; never given twice. */
  readonly id: string;
  /** Repositories of one network share nodes and packs: a repository and its forks. */
  readonly networkId: string;
  /** null when prepared or deleted. */
  readonly name: string | null;
  /** Of a deleted one: the name it had. */
  readonly formerName?: string;
  readonly objectFormat: ObjectFormat;
  readonly state: RepositoryState;
  /** Counts up with every commit. A fork begins with its parent's, which is what the root it shares says. */
  readonly generation: number;
  readonly root: NodeId;
  /** Counts up when objects are pruned: a push that saw another one checks its connectivity again. */
  readonly pruneEpoch: number;
  readonly createdAtMs: number;
  readonly deletedAtMs?: number;
  /** Id of the repository it was forked from. */
  readonly forkedFrom?: string;
}

/** Why there is a generation. */
export const GENERATION_KINDS = [
  "create",
  "fork",
  "import",
  "push",
  "attributes",
  "compact",
  "gc",
  "restore",
] as const;
export type GenerationKind = (typeof GENERATION_KINDS)[number];

/** One state a repository was in. Rows are added by commits and never changed. */
export interface GenerationRecord {
  readonly repositoryId: string;
  readonly generation: number;
  readonly root: NodeId;
  readonly kind: GenerationKind;
  /** Never less than that of the generation before, whichever server's clock said so. */
  readonly timeMs: number;
  readonly commitId: string;
  /** Whatever the committer wanted to be remembered. */
  readonly about?: string;
}

export type PackKind = "push" | "compact" | "gc" | "gc-rest" | "gc-unreachable" | "import" | "chunks";

/** What the bucket holds for a network. What is inside is said by the leaf in the tree. */
export interface NewPack {
  /** Random; never given twice. */
  readonly id: string;
  readonly key: string;
  /** Index and the like, where they are an object of their own. */
  readonly sideKey?: string;
  readonly kind: PackKind;
  /** Of all its keys. */
  readonly sizeBytes: number;
}

export interface PackRecord extends NewPack {
  readonly networkId: string;
  readonly createdAtMs: number;
  /** When a commit first left it out. Forks and older generations may name it still. */
  readonly retiredAtMs?: number;
  /** When it was first seen that no kept root names it. */
  readonly unnamedAtMs?: number;
  /** How often somebody came to name it who did not write it. @default 0 */
  readonly held?: number;
}

/** A pack as it was listed: one that was held since is another matter. */
export type ListedPack = Pick<PackRecord, "id" | "held">;

/** "open": somebody is writing these keys. "taken": nobody will commit them; they are to be deleted. */
export type UploadState = "open" | "taken";

export interface BundleRecord {
  /** Of the upload. */
  readonly id: string;
  readonly key: string;
  readonly note: string;
  /** For so long nobody has kept or touched it. */
  readonly untouchedMs: number;
}

export interface UploadRecord {
  readonly id: string;
  readonly networkId: string;
  /** Absent: of the network as a whole. */
  readonly repositoryId?: string;
  readonly keys: readonly string[];
  readonly owner: string;
  readonly state: UploadState;
  /** When it began, was touched or was taken (of an open one). */
  readonly touchedAtMs: number;
}

export interface NewRepository {
  /** @default the repository is prepared, and found by nobody */
  readonly name?: string;
  readonly objectFormat: ObjectFormat;
  readonly root: NodeId;
  /** The root and what it leads to. */
  readonly nodes: ReadonlyMap<NodeId, Uint8Array>;
  readonly kind?: GenerationKind;
  readonly about?: string;
}

export interface MetadataCommit {
  readonly repositoryId: string;
  readonly expectedGeneration: number;
  readonly root: NodeId;
  /** All that are not known to be in the current root's tree; those that are there already do no harm. */
  readonly nodes: ReadonlyMap<NodeId, Uint8Array>;
  /** Ids of uploads: all must be open, and are gone with the commit. */
  readonly uploads: readonly string[];
  readonly packs: readonly NewPack[];
  /** Ids of packs that the new root names no more. */
  readonly retired?: readonly string[];
  /** Ids of containers that the new root names beside those in `packs`: all must be there, and are held. */
  readonly held?: readonly string[];
  /** Chunks in those of `packs` that are containers, so that others find them. */
  readonly chunks?: readonly RecipeChunk[];
  /** The generation whose root this is, or is made of: it must be kept still, or nothing is committed. */
  readonly restoredGeneration?: number;
  readonly kind: GenerationKind;
  readonly bumpsPruneEpoch?: boolean;
  /** What others are told of it: rows of this database as well. All of one repository. */
  readonly events?: readonly EventDraft[];
  /** Random; the same in every attempt. By it a commit whose answer was lost is found. */
  readonly commitId: string;
  readonly about?: string;
}

/**
 * "raced": another came first; `record` is what it made. "generation-gone": what was to be restored is kept no more.
 * "container-gone": one of those that were to be held was dropped.
 */
export type CommitOutcome =
  | { readonly kind: "committed"; readonly record: RepositoryRecord }
  | { readonly kind: "raced"; readonly record: RepositoryRecord }
  | { readonly kind: "upload-gone" }
  | { readonly kind: "generation-gone" }
  | { readonly kind: "container-gone" }
  | { readonly kind: "not-found" };

export interface MetadataStore extends LeaseStore, WitnessStore {
  /** Live ones alone. */
  find(name: string): Promise<RepositoryRecord | undefined>;
  /** In whatever state. */
  get(id: string): Promise<RepositoryRecord | undefined>;
  /** Live ones by name in byte order, from the first after `after`. */
  list(options: { readonly after?: string; readonly limit: number }): Promise<readonly RepositoryRecord[]>;
  /** Oldest first: deleted (or prepared: made) before a time. */
  listHidden(options: {
    readonly state: "prepared" | "deleted";
    readonly beforeMs: number;
    readonly limit: number;
  }): Promise<readonly RepositoryRecord[]>;

  /** In a network of its own, at generation 0. Of several for one name exactly one wins. @throws storage/exists */
  create(repository: NewRepository): Promise<RepositoryRecord>;
  /** Two rows, whatever the parent holds. Without a name: prepared. @throws storage/exists, storage/not-found (no live parent) */
  fork(parentId: string, name?: string): Promise<RepositoryRecord>;
  /** Prepared → live; of several for one name exactly one wins. @throws storage/exists, storage/not-found */
  place(id: string, name: string): Promise<void>;
  /** Of a live one. @throws storage/exists, storage/not-found */
  rename(id: string, name: string): Promise<void>;
  /** Live → deleted: its name is free, its rows are kept. @throws storage/not-found */
  delete(id: string): Promise<void>;
  /** Deleted → live. @throws storage/exists, storage/not-found */
  undelete(id: string, name: string): Promise<void>;
  /**
   * Removes a prepared or deleted one and its generations for good. With the last repository of a network its packs become
   * uploads that are taken, and its nodes go. @throws storage/not-found
   */
  purge(id: string): Promise<void>;

  /** Those that are missing are absent. */
  readNodes(networkId: string, ids: readonly NodeId[]): Promise<ReadonlyMap<NodeId, Buffer>>;

  /** Before the first byte goes to the bucket: these keys may come to be there. @returns the upload's id */
  beginUpload(upload: {
    readonly repositoryId: string;
    readonly networkId: string;
    readonly keys: readonly string[];
    readonly owner: string;
  }): Promise<string>;
  /** These are all of its keys now. @returns false when it was taken: nothing may be sent any more */
  setUploadKeys(id: string, keys: readonly string[]): Promise<boolean>;
  /** It is still being written. @returns false when it was taken: what was uploaded is lost */
  touchUpload(id: string): Promise<boolean>;
  /**
   * Open → taken: no commit can have it from here on. @returns the keys to delete from the bucket, also of one that was
   * taken before; undefined when it was committed or ended
   */
  takeUpload(id: string): Promise<readonly string[] | undefined>;
  /** Removes a row that was taken: its keys are gone from the bucket. */
  endUpload(id: string): Promise<void>;
  /**
   * The upload is a bundle: nothing commits it, and it stays until it is taken, because nobody has touched it for long or with its
   * repository. @param note any text @returns false: it was taken
   */
  keepBundle(id: string, note: string): Promise<boolean>;
  /** Of a repository, those that were not taken, the one that was kept or touched last first. */
  listBundles(repositoryId: string): Promise<readonly BundleRecord[]>;
  /** Untouched for so long, oldest first, taken ones included. */
  listUploads(options: {
    readonly olderThanMs: number;
    readonly limit: number;
    readonly state?: UploadState;
  }): Promise<readonly UploadRecord[]>;

  /**
   * All of it or nothing, durable when it answers "committed". An answer that was lost is looked up by `commitId`.
   * @throws storage/io when even that cannot be told: it may or may not have happened
   */
  commit(change: MetadataCommit): Promise<CommitOutcome>;

  /** Newest first, before (and without) a generation. */
  listGenerations(
    repositoryId: string,
    options: { readonly before?: number; readonly limit: number },
  ): Promise<readonly GenerationRecord[]>;
  getGeneration(repositoryId: string, generation: number): Promise<GenerationRecord | undefined>;
  /** The one that was current at a time. */
  generationAt(repositoryId: string, timeMs: number): Promise<GenerationRecord | undefined>;
  /** The first that is kept. */
  oldestGeneration(repositoryId: string): Promise<GenerationRecord | undefined>;
  /** Forgets those before a generation; the current one stays whatever is asked. @returns how many went */
  forgetGenerations(repositoryId: string, before: number): Promise<number>;
  /**
   * Of all repositories of a network: forgets what came before the one that was current at a time. That one stays, so that what
   * was at any time since is known, and with it the current one. @returns how many went
   */
  forgetOldGenerations(networkId: string, beforeMs: number): Promise<number>;

  /** By id, after `after`. */
  listPacks(
    networkId: string,
    options: { readonly after?: string; readonly limit: number },
  ): Promise<readonly PackRecord[]>;
  /** Live repositories, by id, of networks that have such a pack which no commit has left out yet. */
  listHolders(options: {
    readonly kind: PackKind;
    /** When the pack came. */
    readonly olderThanMs: number;
    readonly after?: string;
    readonly limit: number;
  }): Promise<readonly { readonly id: string; readonly name: string }[]>;
  /** Networks in the order of their ids. */
  listNetworks(options: { readonly after?: string; readonly limit: number }): Promise<readonly string[]>;
  /**
   * Current ones and those of generations, of all repositories of a network, each once; all of one instant. Packs that were
   * listed before and that none of these names are garbage for good.
   */
  listKeptRoots(
    networkId: string,
    options?: {
      /** Those of this repository are left out, unless another one has them too. */
      readonly besides?: string;
    },
  ): Promise<readonly NodeId[]>;
  /** No kept root names them: the caller has proved it. Those that were marked before keep their time. */
  markUnnamed(networkId: string, packs: readonly ListedPack[]): Promise<void>;
  /**
   * Packs that no kept root names become uploads that are taken, and their chunks are found no more. The caller has proved it
   * with roots that were listed after the packs. @returns ids of those uploads
   */
  dropPacks(networkId: string, packs: readonly ListedPack[]): Promise<readonly string[]>;
  /** Chunks of the network that may be used again, by id. Whoever names their containers holds them first. */
  findChunks(networkId: string, ids: readonly string[]): Promise<ReadonlyMap<string, RecipeChunk>>;
  /** They are about to be named: those that are there are not dropped before the grace is over once more. */
  holdContainers(networkId: string, ids: readonly string[]): Promise<void>;
  /**
   * Begins to look for nodes that no kept root needs. Every node that is written from here on, by a commit that is at work
   * already too, is marked with this number or a greater one.
   */
  beginSweep(networkId: string): Promise<number>;
  /**
   * Removes nodes of before the sweep but those to keep: all that the roots lead to which were listed after `beginSweep`.
   * A network without repositories goes with its last node. @returns how many nodes went
   */
  sweepNodes(networkId: string, sweep: number, keep: (id: NodeId) => boolean): Promise<number>;

  /** By the clock that all times in rows are of. */
  now(): Promise<number>;
  /** Rejects when it cannot be read and written now. */
  probe(): Promise<void>;
}
