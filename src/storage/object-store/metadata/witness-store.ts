/**
 * Which changes of repositories are witnessed in the bucket, and by which objects: `witnesses/` writes them, a rebuild reads
 * them when there are no rows any more. A witness decides nothing while there are rows.
 */
import type { RecipeChunk } from "../chunks/recipe.js";
import type { GenerationRecord, NewPack, RepositoryRecord } from "./metadata-store.js";

export interface WitnessRecord {
  readonly key: string;
  /** How many changes of the repository it tells. */
  readonly number: number;
  /** The newest generation that it, or one before it, tells. */
  readonly generation: number;
  /** It needs none that was written before. */
  readonly isWhole: boolean;
  readonly sizeBytes: number;
}

export interface UnwitnessedRepository {
  readonly record: RepositoryRecord;
  /** Of changes by now. */
  readonly number: number;
  /** What is told already is not to be built on. */
  readonly needsWhole: boolean;
}

/** Of one network, as a rebuild writes it. */
export interface RebuiltNetwork {
  readonly id: string;
  readonly repositories: readonly {
    readonly record: RepositoryRecord;
    readonly changedAtMs: number;
    /** More than any of its witnesses tells. */
    readonly number: number;
    readonly generations: readonly GenerationRecord[];
    readonly witnesses: readonly {
      readonly key: string;
      readonly number: number;
      readonly sizeBytes: number;
    }[];
  }[];
  readonly packs: readonly NewPack[];
}

export interface WitnessStore {
  /** Live and deleted ones with a change that no witness tells, by id, after `after`. */
  listUnwitnessed(options: {
    readonly after?: string;
    readonly limit: number;
  }): Promise<readonly UnwitnessedRepository[]>;
  /** Newest first. */
  listWitnesses(repositoryId: string, options: { readonly limit: number }): Promise<readonly WitnessRecord[]>;
  /**
   * It is in the bucket: its upload ends, and it is listed from here on.
   * @param witness.buildsOn number of the one that it goes on from; undefined: it is whole
   * @returns false: the repository or the upload has gone, or another was listed meanwhile that makes it needless, or what it builds on;
   *   nothing happened
   */
  addWitness(
    witness: WitnessRecord & {
      readonly repositoryId: string;
      readonly uploadId: string;
      readonly buildsOn: number | undefined;
    },
  ): Promise<boolean>;
  /**
   * Of a network: those before a whole one that is so old become uploads that are taken. Where one that is so old tells of generations
   * that were forgotten since, the repository is listed for a new whole one.
   * @param options.keptMs for how long generations are kept that were replaced
   * @returns ids of those uploads
   */
  dropOldWitnesses(
    networkId: string,
    options: { readonly wholeOlderThanMs: number; readonly keptMs: number },
  ): Promise<readonly string[]>;

  /** A rebuild has begun and not ended: the bucket that it reads. */
  rebuiltFrom(): Promise<string | undefined>;
  /**
   * Begins a rebuild, or goes on with one from the same bucket. @throws storage/exists when there are repositories, or a rebuild
   * from another bucket
   */
  beginRebuild(bucketName: string): Promise<void>;
  /** Any number of nodes of a network that is not there yet; those that are there already do no harm. */
  writeRebuiltNodes(networkId: string, nodes: ReadonlyMap<string, Uint8Array>): Promise<void>;
  /** The same of chunks; those of containers that do not come with the network are forgotten. */
  writeRebuiltChunks(networkId: string, chunks: readonly RecipeChunk[]): Promise<void>;
  hasNetwork(networkId: string): Promise<boolean>;
  /** All of it or nothing, and not twice. */
  addRebuiltNetwork(network: RebuiltNetwork): Promise<void>;
  endRebuild(): Promise<void>;
}
