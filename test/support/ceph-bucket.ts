/** An empty bucket in the run's Ceph, for one test: a prefix of its own in a bucket that all share. */
import { randomUUID } from "node:crypto";
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3";
import type { S3BucketOptions } from "../../src/storage/object-store/bucket/s3-bucket.js";
import { cephOfRun } from "./ceph-run.js";

const BUCKET = "gitwharf";
/** For a `beforeAll` that may have to install Ceph. */
export const CEPH_START_MS = 300_000;

export type CephBucketOptions = S3BucketOptions &
  Required<Pick<S3BucketOptions, "prefix" | "endpoint" | "credentials">>;

/**
 * @param socket `inject("cephSocket")`
 * @returns options for a bucket with a new prefix, at each call
 */
export async function cephBuckets(socket: string): Promise<() => CephBucketOptions> {
  const { endpoint, accessKeyId, secretAccessKey } = await cephOfRun(socket);
  const credentials = { accessKeyId, secretAccessKey };
  const client = new S3Client({ endpoint, region: "us-east-1", forcePathStyle: true, credentials });
  try {
    // Of a bucket that is ours already this is no error.
    await client.send(new CreateBucketCommand({ Bucket: BUCKET }));
  } finally {
    client.destroy();
  }
  return () => ({ bucket: BUCKET, prefix: `test/${randomUUID()}`, endpoint, credentials });
}
