/** Where tests keep repositories in the object store: embedded, and on Ceph and PostgreSQL, which start when first asked for. */
import { join } from "node:path";
import { openDatabase, parseDatabaseLocation } from "../../src/database/open-database.js";
import type { ObjectStorageOptions } from "../../src/server/object-storage.js";
import { SKIP_CEPH } from "./ceph.js";
import { cephBuckets } from "./ceph-bucket.js";
import { SKIP_POSTGRES, startPostgres, type TestPostgres } from "./postgres.js";

export interface TestStorages {
  readonly name: string;
  readonly isSkipped: boolean;
  /** An empty one. At most one at a time. @param directory for what is kept on this machine */
  open(directory: string): Promise<ObjectStorageOptions>;
  close(): Promise<void>;
}

export function embeddedStorages(): TestStorages {
  return {
    name: "a directory and SQLite",
    isSkipped: false,
    open: async (directory) => ({
      bucket: { directory: join(directory, "bucket") },
      database: `sqlite:${join(directory, "state", "state.sqlite")}`,
      durability: "none",
    }),
    close: async () => undefined,
  };
}

/** @param cephSocket `inject("cephSocket")` */
export function servedStorages(cephSocket: string): TestStorages {
  let postgres: TestPostgres | undefined;
  let database: string | undefined;
  let nextBucket: Awaited<ReturnType<typeof cephBuckets>> | undefined;
  return {
    name: "Ceph and PostgreSQL",
    isSkipped: SKIP_CEPH || SKIP_POSTGRES,
    async open() {
      nextBucket ??= await cephBuckets(cephSocket);
      postgres ??= await startPostgres();
      // To make one takes longer than most tests.
      if (database === undefined) database = await postgres.createDatabase();
      else await empty(database);
      return { bucket: nextBucket(), database };
    },
    async close() {
      await postgres?.stop();
    },
  };
}

async function empty(location: string): Promise<void> {
  const { db, sql, close } = await openDatabase(parseDatabaseLocation(location));
  try {
    await sql`truncate networks, repositories, generations, nodes, packs, chunks, uploads, witnesses, leases`.execute(
      db,
    );
  } finally {
    await close();
  }
}
