/** Against a real store: Ceph's RADOS gateway, started for the run. What goes wrong on the way: s3-faults.test.ts. */
import { createHash, randomBytes } from "node:crypto";
import { ListMultipartUploadsCommand, S3Client } from "@aws-sdk/client-s3";
import { afterEach, beforeAll, describe, expect, inject, it, vi } from "vitest";
import { SKIP_CEPH } from "../../../../test/support/ceph.js";
import { CEPH_START_MS, cephBuckets, type CephBucketOptions } from "../../../../test/support/ceph-bucket.js";
import type { Bucket, BucketUpload } from "./bucket.js";
import { bucketSuite } from "./bucket-suite.js";
import { openS3Bucket, type S3BucketOptions } from "./s3-bucket.js";

const MiB = 1024 * 1024;
let emptyBucket: () => CephBucketOptions;

describe.skipIf(SKIP_CEPH)("S3", () => {
  beforeAll(async () => {
    emptyBucket = await cephBuckets(inject("cephSocket"));
  }, CEPH_START_MS);

  bucketSuite(
    { describe, it },
    {
      name: "S3 (Ceph RGW)",
      largeBytes: 9 * MiB,
      async open() {
        const options = emptyBucket();
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

  describe("openS3Bucket", () => {
    const open = async (more: Partial<S3BucketOptions> = {}): Promise<Bucket> => {
      const bucket = await openS3Bucket({ ...emptyBucket(), ...more });
      opened.push(bucket);
      return bucket;
    };
    const opened: Bucket[] = [];
    afterEach(async () => {
      vi.useRealTimers();
      for (const bucket of opened.splice(0)) await bucket.close();
    });

    it("asks once for what is small, and in parts for what is large", async () => {
      const requests: string[] = [];
      const bucket = await open({ onRequest: ({ operation }) => requests.push(operation) });
      const took = (): readonly string[] => requests.splice(0);
      await bucket.put("l/00/x.l0", [randomBytes(1000), randomBytes(1000)]);
      expect(took()).toEqual(["PutObject"]);
      await bucket.get("l/00/x.l0");
      await bucket.get("l/00/x.l0", { start: 0, end: 10 });
      expect(took()).toEqual(["GetObject", "GetObject"]);
      const upload = await bucket.createUpload("c/00/x");
      for (let round = 0; round < 20; round++) await upload.append(randomBytes(MiB));
      expect(await upload.finish()).toEqual({ sizeBytes: 20 * MiB });
      expect(took().toSorted()).toEqual([
        "CompleteMultipartUpload",
        "CreateMultipartUpload",
        "UploadPart",
        "UploadPart",
        "UploadPart",
      ]);
      await bucket.delete(["l/00/x.l0", "c/00/x"]);
      expect(took()).toEqual(["DeleteObjects"]);
    });

    it("leaves no part of an upload behind that was given up, and sweeps what others left", async () => {
      const options = emptyBucket();
      const { bucket: Bucket, prefix: Prefix, endpoint, credentials } = options;
      const client = new S3Client({ endpoint, region: "us-east-1", forcePathStyle: true, credentials });
      let sent = (): void => undefined;
      const bucket = await open({
        ...options,
        onRequest: ({ operation }) => operation === "UploadPart" && sent(),
      });
      const partly = async (key: string): Promise<BucketUpload> => {
        const partIsSent = new Promise<void>((resolve) => {
          sent = resolve;
        });
        const upload = await bucket.createUpload(key);
        for (let round = 0; round < 20; round++) await upload.append(randomBytes(MiB));
        await partIsSent;
        return upload;
      };
      const uploads = async (): Promise<number> => {
        const found = await client.send(new ListMultipartUploadsCommand({ Bucket, Prefix }));
        return found.Uploads?.length ?? 0;
      };
      const givenUp = await partly("c/00/x");
      expect(await uploads()).toBe(1);
      await givenUp.abort();
      expect(await uploads()).toBe(0);
      const forgotten = await partly("c/00/y");
      expect(await uploads()).toBe(1);
      await bucket.sweep({ olderThanMs: 60 * 60 * 1000 });
      expect(await uploads()).toBe(1);
      await (await open({ prefix: `${Prefix}-other` })).sweep({ olderThanMs: -60 * 60 * 1000 });
      await bucket.sweep({ olderThanMs: -60 * 60 * 1000 });
      expect(await uploads()).toBe(0);
      await forgotten.abort();
      client.destroy();
    });

    it("keeps to its prefix", async () => {
      const { bucket, prefix } = emptyBucket();
      const [one, two] = [
        await open({ prefix: `${prefix}/one` }),
        await open({ prefix: `${prefix}/one-more/` }),
      ];
      await one.put("p/00/x", [Buffer.from("one")]);
      await two.put("p/00/x", [Buffer.from("two")]);
      expect((await one.get("p/00/x")).toString()).toBe("one");
      for await (const { key, sizeBytes } of two.list("")) expect([key, sizeBytes]).toEqual(["p/00/x", 3]);
      const above = await open({ prefix });
      const keys: string[] = [];
      for await (const { key } of above.list("")) keys.push(key);
      expect(keys).toEqual(["one-more/p/00/x", "one/p/00/x"]);
      expect(one.name).toBe(`s3://${bucket}/${prefix}/one`);
    });

    it("streams what is large as it was written", async () => {
      const bucket = await open();
      const written = createHash("sha256");
      const upload = await bucket.createUpload("c/00/large");
      for (let round = 0; round < 40; round++) {
        const bytes = randomBytes(MiB + 1);
        written.update(bytes);
        await upload.append(bytes);
      }
      await upload.finish();
      const read = createHash("sha256");
      for await (const chunk of bucket.stream("c/00/large")) read.update(chunk);
      expect(read.digest("hex")).toBe(written.digest("hex"));
    });

    it("makes URLs from which anybody may read, one object, for a while", async () => {
      const options = emptyBucket();
      const bucket = await open(options);
      await bucket.put("p/00/x", [Buffer.from("shared")]);
      await bucket.put("p/00/y", [Buffer.from("not shared")]);
      const url = (await bucket.presign?.("p/00/x", { expiresSeconds: 60 })) ?? "";
      const answer = await fetch(url);
      expect([answer.status, await answer.text()]).toEqual([200, "shared"]);
      const part = await fetch(url, { headers: { range: "bytes=2-3" } });
      expect([part.status, await part.text()]).toEqual([206, "ar"]);
      expect((await fetch(url.replace("p/00/x", "p/00/y"))).status).toBe(403);
      expect((await fetch(url, { method: "DELETE" })).status).toBe(403);
      expect((await fetch(url.split("?")[0] ?? "")).status).toBe(403);
      expect(url).not.toContain(options.credentials.secretAccessKey);
    });

    it("sets its clock by the store's", async () => {
      const bucket = await open({ backoffMs: 1 });
      vi.useFakeTimers({ toFake: ["Date"], now: Date.now() - 60 * 60 * 1000 });
      await bucket.put("p/00/x", [Buffer.from("x")]);
      vi.setSystemTime(Date.now() + 3 * 60 * 60 * 1000);
      expect(await bucket.head("p/00/x")).toEqual({ sizeBytes: 1 });
      expect((await bucket.get("p/00/x")).toString()).toBe("x");
    });

    it.each<[string, () => Partial<S3BucketOptions>, RegExp]>([
      [
        "a wrong secret",
        () => ({ credentials: { ...emptyBucket().credentials, secretAccessKey: "wrong" } }),
        /SignatureDoesNotMatch/,
      ],
      [
        "a user whom nobody knows",
        () => ({ credentials: { ...emptyBucket().credentials, accessKeyId: "nobody" } }),
        /InvalidAccessKeyId/,
      ],
      ["a bucket that is not there", () => ({ bucket: "not-there" }), /NoSuchBucket/],
    ])("says at once that it has %s", async (_what, options, why) => {
      const requests: string[] = [];
      const bucket = await open({ ...options(), onRequest: ({ operation }) => requests.push(operation) });
      for (const ask of [() => bucket.get("p/00/x"), () => bucket.put("p/00/x", [])])
        await expect(ask()).rejects.toMatchObject({
          code: "storage/io",
          message: expect.stringMatching(why),
        });
      await expect(bucket.probe()).rejects.toMatchObject({ code: "storage/io" });
      expect(requests).toEqual(["GetObject", "PutObject", "HeadBucket"]);
    });
  });
});
