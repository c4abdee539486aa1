/** Where an object store stands: a directory and SQLite, or Ceph's gateway and PostgreSQL, which are started here. */
import { statSync } from "node:fs";
import { join } from "node:path";
import type { Database } from "../../src/database/open-database.js";
import { startCeph, type TestCeph } from "../../test/support/ceph.js";
import { startPostgresServer, type TestPostgres } from "../../test/support/postgres-server.js";
import type { BucketPlace } from "./measured-bucket.js";

export type GroundKind = "directory" | "ceph";

export interface Ground {
  readonly kind: GroundKind;
  /** Scratch directory, for all that belongs to one part. */
  readonly work: string;
  place(prefix: string): BucketPlace;
  /** A database that nobody uses yet. */
  createDatabase(): Promise<string>;
  /** Bytes on the disk, what is waiting in a log among them. */
  sizeOf(database: Database, location: string): Promise<number>;
  close(): Promise<void>;
}

export const GROUND_TITLES: Readonly<Record<GroundKind, string>> = {
  directory: "A directory and SQLite",
  ceph: "Ceph RGW and PostgreSQL",
};
const BUCKET = "bench";

export async function openGround(kind: GroundKind, work: string): Promise<Ground> {
  return kind === "ceph" ? openServers(work) : openDirectory(work);
}

function openDirectory(work: string): Ground {
  let databases = 0;
  return {
    kind: "directory",
    work,
    place: (prefix) => ({ directory: join(work, "bucket", prefix) }),
    createDatabase: async () => `sqlite:${join(work, "database", `${++databases}.sqlite`)}`,
    async sizeOf({ db, sql }, location) {
      await sql`pragma wal_checkpoint(truncate)`.execute(db);
      return statSync(location.slice("sqlite:".length)).size;
    },
    close: async () => undefined,
  };
}

async function openServers(work: string): Promise<Ground> {
  const ceph = await startCeph();
  let postgres: TestPostgres | undefined;
  const close = async (): Promise<void> => {
    await postgres?.stop();
    await ceph.stop();
  };
  try {
    await makeBucket(ceph);
    postgres = await startPostgresServer({ durable: true });
  } catch (error) {
    await close();
    throw error;
  }
  const { endpoint, accessKeyId, secretAccessKey } = ceph;
  const credentials = { accessKeyId, secretAccessKey };
  const { createDatabase } = postgres;
  return {
    kind: "ceph",
    work,
    place: (prefix) => ({ s3: { bucket: BUCKET, prefix, endpoint, credentials } }),
    createDatabase,
    async sizeOf({ db, sql }) {
      const { rows } = await sql<{
        size: string;
      }>`select pg_database_size(current_database()) as size`.execute(db);
      return Number(rows[0]?.size);
    },
    close,
  };
}

async function makeBucket({ endpoint, accessKeyId, secretAccessKey }: TestCeph): Promise<void> {
  const { CreateBucketCommand, S3Client } = await import("@aws-sdk/client-s3");
  const credentials = { accessKeyId, secretAccessKey };
  const client = new S3Client({ endpoint, credentials, region: "us-east-1", forcePathStyle: true });
  await client.send(new CreateBucketCommand({ Bucket: BUCKET }));
  client.destroy();
}
