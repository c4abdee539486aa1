/** Object stores for tests, on both pairs of what they stand on, and as many servers on one as a test wants. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Database, openDatabase, parseDatabaseLocation } from "../../src/database/open-database.js";
import type { Repository, RepositoryStore } from "../../src/storage/contracts/repository.js";
import { finishPack, type SampleObject } from "../../src/storage/contracts/suites/sample-objects.js";
import type { Bucket } from "../../src/storage/object-store/bucket/bucket.js";
import { openDirectoryBucket } from "../../src/storage/object-store/bucket/directory-bucket.js";
import { openS3Bucket } from "../../src/storage/object-store/bucket/s3-bucket.js";
import { createMetadataStore } from "../../src/storage/object-store/metadata/create-metadata-store.js";
import type { MetadataStore } from "../../src/storage/object-store/metadata/metadata-store.js";
import { type ObjectStoreOptions, openObjectStore } from "../../src/storage/object-store/object-store.js";
import { SKIP_CEPH } from "./ceph.js";
import { type CephBucketOptions, cephBuckets } from "./ceph-bucket.js";
import { SKIP_POSTGRES, startPostgres, type TestPostgres } from "./postgres.js";

/** A bucket and a database. */
export interface StorePlace {
  readonly directory: string;
  readonly openBucket: () => Promise<Bucket>;
  readonly database: string;
}

export interface ObjectStorePlaces {
  readonly onDisk: () => Promise<StorePlace>;
  readonly onCeph: () => Promise<StorePlace>;
  stop(): Promise<void>;
}

export const SKIP_CEPH_AND_POSTGRES = SKIP_CEPH || SKIP_POSTGRES;

/** @param cephSocket `inject("cephSocket")` */
export function objectStorePlaces(cephSocket: string): ObjectStorePlaces {
  const directory = mkdtempSync(join(tmpdir(), "gitwharf-test-"));
  let made = 0;
  let postgres: TestPostgres | undefined;
  let ceph: (() => CephBucketOptions) | undefined;
  return {
    onDisk: async () => placeOnDisk(join(directory, `${++made}`)),
    async onCeph() {
      ceph ??= await cephBuckets(cephSocket);
      postgres ??= await startPostgres();
      const options = ceph();
      return {
        directory: join(directory, `${++made}`),
        openBucket: () => openS3Bucket(options),
        database: await postgres.createDatabase(),
      };
    },
    async stop() {
      await postgres?.stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

export function placeOnDisk(directory: string): StorePlace {
  return {
    directory,
    openBucket: () => openDirectoryBucket({ directory: join(directory, "bucket"), sync: false }),
    database: `sqlite:${join(directory, "state", "state.sqlite")}`,
  };
}

export interface StoreServer {
  readonly store: RepositoryStore;
  readonly metadata: MetadataStore;
  readonly bucket: Bucket;
  readonly database: Database;
}

/** Servers on one place; their janitors do not run by themselves. */
export class StoreServers {
  readonly #place: StorePlace;
  readonly #closing: (() => Promise<void>)[] = [];

  constructor(place: StorePlace) {
    this.#place = place;
  }

  async open(options: Pick<ObjectStoreOptions, "settings"> = {}): Promise<StoreServer> {
    const { directory, openBucket, database: location } = this.#place;
    const database = await openDatabase(parseDatabaseLocation(location));
    const metadata = createMetadataStore(database);
    const bucket = await openBucket();
    const localDirectory = join(directory, "local");
    const store = await openObjectStore({ bucket, metadata, localDirectory, janitor: false, ...options });
    this.#closing.unshift(async () => {
      await store.close();
      await database.close();
    });
    return { store, metadata, bucket, database };
  }

  async close(): Promise<void> {
    for (const close of this.#closing.splice(0)) await close();
  }
}

/** A push without a client: objects, and a ref that is to name the first of them. */
export async function pushObjects(
  repository: Repository,
  objects: readonly SampleObject[],
  ref?: string,
): Promise<boolean> {
  const quarantine = await repository.openQuarantine();
  try {
    await finishPack(await quarantine.createPack(), repository.objectFormat, objects);
    await quarantine.publish();
    const [first] = objects;
    if (ref === undefined || first === undefined) return true;
    const results = await repository.refs.transact({
      updates: [{ name: ref, oldOid: undefined, newOid: first.oid }],
      atomic: true,
    });
    return results.every(({ ok }) => ok);
  } finally {
    await quarantine.discard();
  }
}

/** Those that cannot be read as they were. */
export async function missingObjects(
  repository: Repository,
  objects: readonly SampleObject[],
): Promise<readonly string[]> {
  const snapshot = await repository.snapshot();
  try {
    const missing: string[] = [];
    for (const { oid, data } of objects)
      if ((await snapshot.objects.read(oid))?.data.equals(data) !== true) missing.push(oid);
    return missing;
  } finally {
    snapshot.release();
  }
}

export async function keysIn(bucket: Bucket): Promise<readonly string[]> {
  const keys: string[] = [];
  for await (const { key } of bucket.list("")) keys.push(key);
  return keys;
}
