/** Against a real store: Ceph's RADOS gateway, started for the run. What goes wrong on the way: s3-faults.test.ts. */
import { randomUUID } from "node:crypto";
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3";
import { beforeAll, afterAll, describe, inject, it } from "vitest";
import { type CephAccess, SKIP_CEPH } from "../../../../test/support/ceph.js";
import { cephOfRun } from "../../../../test/support/ceph-run.js";
import { bucketSuite } from "./bucket-suite.js";
import { openS3Bucket, type S3BucketOptions } from "./s3-bucket.js";

const MiB = 1024 * 1024;
const BUCKET = `bucket-${randomUUID()}`;
const INSTALLING_MS = 300_000;
let ceph: CephAccess;
let client: S3Client;

describe.skipIf(SKIP_CEPH)("S3", () => {
  beforeAll(async () => {
    ceph = await cephOfRun(inject("cephSocket"));
    client = new S3Client({
      endpoint: ceph.endpoint,
      region: "us-east-1",
      forcePathStyle: true,
      credentials: ceph,
    });
    await client.send(new CreateBucketCommand({ Bucket: BUCKET }));
  }, INSTALLING_MS);
  afterAll(() => client?.destroy());

  const optionsOf = (more: Partial<S3BucketOptions> = {}): S3BucketOptions => ({
    bucket: BUCKET,
    prefix: `test/${randomUUID()}`,
    endpoint: ceph.endpoint,
    credentials: ceph,
    ...more,
  });

  bucketSuite(
    { describe, it },
    {
      name: "S3 (Ceph RGW)",
      largeBytes: 9 * MiB,
      async open() {
        const options = optionsOf();
        const bucket = await openS3Bucket(options);
        const opened = [bucket];
        return {
          bucket,
          async reopen() {
            const other = await openS3Bucket(options);
            opened.push(other);
            return other;
          },
          dispose: async () => void (await Promise.all(opened.map((each) => each.close()))),
        };
      },
    },
  );
});
