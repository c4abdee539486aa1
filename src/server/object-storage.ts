/** Repositories in a bucket and a database, opened from what configuration says. */
import { GitwharfError } from "../base/errors.js";
import type { CollectionOutcome, CollectOptions } from "../engine/maintenance/collect-garbage.js";
import type { RepositorySettings } from "../storage/contracts/repository-settings.js";
import type { BackgroundJanitorOptions } from "../storage/object-store/background-janitor.js";
import type { Bucket } from "../storage/object-store/bucket/bucket.js";
import type { S3BucketOptions } from "../storage/object-store/bucket/s3-bucket.js";
import type { ObjectStore } from "../storage/object-store/object-store.js";
import type { Verification } from "../storage/object-store/verify-state.js";
import type { BackgroundWitnessesOptions } from "../storage/object-store/witnesses/background-witnesses.js";
import type { RebuildOptions, RebuildReport } from "../storage/object-store/witnesses/rebuild.js";
import type { ImportOptions, ImportSummary } from "./import-repository.js";
import type { DeepVerifyOptions } from "./verify-stored.js";

export interface ObjectStorageOptions {
  /** Where packs are: a directory of this machine, or a bucket of an S3-compatible store. */
  readonly bucket: { readonly directory: string } | S3BucketOptions;
  /**
   * Where the state of the repositories is: `sqlite:PATH`, for one machine, or `postgres://…`, for any number of servers. It
   * may be that of users, events and apps.
   */
  readonly database: string;
  /** "none": a directory's files may be lost with the machine's power. @default "sync" */
  readonly durability?: "sync" | "none";
  /** For pushes on their way and copies of what is read. @default a directory of its own in the temporary directory */
  readonly localDirectory?: string;
  /** Of those copies; those in use stay. @default 10 GiB */
  readonly cacheBytesMax?: number;
  /** Blobs from this size on are kept as chunks, which all versions of them share. Infinity: none. @default 1 MiB */
  readonly largeBlobBytesMin?: number;
  /** The settings of each repository, asked whenever they are needed. @default those of a repository that configures nothing */
  readonly settings?: (name: string) => RepositorySettings;
  /** Removes what nobody needs any more; of several processes one at a time does. false: others see to it. */
  readonly janitor?: BackgroundJanitorOptions | false;
  /**
   * What the database says is written into the bucket as well, soon after it has changed, so that a lost database can be made again
   * (`rebuildObjectStorage`). @default every 30 seconds
   */
  readonly witnesses?: BackgroundWitnessesOptions | false;
  /** How long objects to which no ref leads are kept, from when garbage collection found that. @default 1 day */
  readonly garbageGraceMs?: number;
}

/** The object store, with what takes a look into objects. */
export interface ObjectStorage extends ObjectStore {
  /** `deep`: objects are read and hashed, and what refs lead to has to be there. @throws as that of `ObjectStore` */
  verify(name: string, options?: DeepVerifyOptions): Promise<Verification>;
  /**
   * Takes in a repository on disk (a directory) or a bundle (a file), whole or not at all.
   * @throws storage/exists, storage/not-found, protocol/bad-request, protocol/unsupported, object/corrupt, storage/io
   */
  importFrom(from: string, name: string, options?: ImportOptions): Promise<ImportSummary>;
  /**
   * Puts what refs lead to into packs of its own and drops the rest, once it was found to be unreachable for long enough. Safe
   * while others serve the repository. @throws storage/not-found, object/corrupt, storage/io, base/aborted
   */
  collectGarbage(name: string, options?: CollectOptions): Promise<CollectionOutcome>;
}

/**
 * What `createGitServer` takes as `repositories`. The caller closes it, after the server.
 * @throws server/bad-configuration, database/unavailable, storage/io
 */
export async function openObjectStorage(options: ObjectStorageOptions): Promise<ObjectStorage> {
  // Who has none does without their libraries.
  const { databaseName, openDatabase, parseDatabaseLocation } = await import("../database/open-database.js");
  const { createMetadataStore } = await import("../storage/object-store/metadata/create-metadata-store.js");
  const { openObjectStore } = await import("../storage/object-store/object-store.js");
  const database = await openDatabase(parseDatabaseLocation(options.database));
  let bucket: Bucket | undefined;
  try {
    const metadata = createMetadataStore(database);
    const rebuilt = await metadata.rebuiltFrom();
    if (rebuilt !== undefined)
      throw new GitwharfError(
        "server/bad-configuration",
        `the database is being made again from the bucket ${rebuilt}, or that was broken off; gitwharf storage rebuild ends it`,
      );
    bucket = await openBucket(options);
    const {
      localDirectory,
      cacheBytesMax,
      largeBlobBytesMin,
      settings,
      janitor,
      witnesses = {},
      garbageGraceMs,
    } = options;
    const store = await openObjectStore({
      bucket,
      metadata,
      outboxDatabase: databaseName(options.database),
      witnesses,
      ...(localDirectory === undefined ? {} : { localDirectory }),
      ...(cacheBytesMax === undefined ? {} : { cacheBytesMax }),
      ...(largeBlobBytesMin === undefined ? {} : { largeBlobBytesMin }),
      ...(settings === undefined ? {} : { settings }),
      ...(janitor === undefined ? {} : { janitor }),
      ...(garbageGraceMs === undefined ? {} : { garbageGraceMs }),
    });
    let closing: Promise<void> | undefined;
    const close = async (): Promise<void> => {
      try {
        await store.close();
      } finally {
        await database.close();
      }
    };
    return {
      ...store,
      async verify(name, verifying) {
        const { verifyStored } = await import("./verify-stored.js");
        return verifyStored(store, name, verifying);
      },
      async importFrom(from, name, importing) {
        const { importRepository } = await import("./import-repository.js");
        return importRepository(store, from, name, importing);
      },
      async collectGarbage(name, collecting) {
        const { collectGarbage } = await import("../engine/maintenance/collect-garbage.js");
        const repository = await store.open(name);
        if (repository === undefined)
          throw new GitwharfError("storage/not-found", `repository '${name}' does not exist`);
        try {
          const garbage = repository.packMaintenance?.garbage;
          return garbage === undefined
            ? { kind: "nothing to do" }
            : await collectGarbage(garbage, collecting);
        } finally {
          await repository.close();
        }
      },
      close: () => (closing ??= close()),
    };
  } catch (error) {
    await bucket?.close();
    await database.close();
    throw error;
  }
}

/**
 * Makes the database's rows again from the witnesses in the bucket. The database has to be empty of them, or to hold a rebuild that was
 * broken off, and no server may use it meanwhile.
 * @throws storage/exists, server/bad-configuration, database/unavailable, storage/io, base/aborted
 */
export async function rebuildObjectStorage(
  options: Pick<ObjectStorageOptions, "bucket" | "database" | "durability"> &
    Pick<RebuildOptions, "deep" | "signal" | "onProgress">,
): Promise<RebuildReport> {
  const { openDatabase, parseDatabaseLocation } = await import("../database/open-database.js");
  const { createMetadataStore } = await import("../storage/object-store/metadata/create-metadata-store.js");
  const { rebuild } = await import("../storage/object-store/witnesses/rebuild.js");
  const database = await openDatabase(parseDatabaseLocation(options.database));
  let bucket: Bucket | undefined;
  try {
    bucket = await openBucket(options);
    const { deep, signal, onProgress } = options;
    return await rebuild({ bucket, metadata: createMetadataStore(database), deep, signal, onProgress });
  } finally {
    await bucket?.close();
    await database.close();
  }
}

async function openBucket({
  bucket,
  durability,
}: Pick<ObjectStorageOptions, "bucket" | "durability">): Promise<Bucket> {
  if ("directory" in bucket) {
    const { openDirectoryBucket } = await import("../storage/object-store/bucket/directory-bucket.js");
    return openDirectoryBucket({ directory: bucket.directory, sync: durability !== "none" });
  }
  const { openS3Bucket } = await import("../storage/object-store/bucket/s3-bucket.js");
  return openS3Bucket(bucket);
}

/** `s3://NAME`, `s3://NAME/PREFIX`, or the path of a directory. @throws server/bad-configuration */
export function parseBucketLocation(
  text: string,
): { directory: string } | { bucket: string; prefix?: string } {
  if (!text.includes("://")) return { directory: text };
  const [, bucket, prefix] = /^s3:\/\/([^/]+)(?:\/(.*?)\/*)?$/.exec(text) ?? [];
  if (bucket === undefined)
    throw new GitwharfError(
      "server/bad-configuration",
      "a bucket is written s3://NAME/PREFIX, or as a directory",
    );
  return { bucket, ...(prefix === undefined || prefix === "" ? {} : { prefix }) };
}
