import { describe, expect, it } from "vitest";
import { bucketSuite } from "./bucket-suite.js";
import { createCountedBucket } from "./counted-bucket.js";
import { createMemoryBucket } from "./memory-bucket.js";

bucketSuite(
  { describe, it },
  {
    name: "memory, counted",
    async open() {
      const bucket = createCountedBucket(createMemoryBucket());
      return { bucket, reopen: async () => bucket, dispose: () => bucket.close() };
    },
  },
);

describe("createCountedBucket", () => {
  it("counts calls, failures and bytes by operation", async () => {
    const ended: string[] = [];
    const bucket = createCountedBucket(createMemoryBucket(), {
      onCall: ({ operation, failed }) => ended.push(`${operation}${failed ? " failed" : ""}`),
    });
    await bucket.put("p/00/x", [Buffer.from("ab"), Buffer.from("c")]);
    await bucket.get("p/00/x", { start: 1, end: 3 });
    await expect(bucket.get("p/00/y")).rejects.toMatchObject({ code: "storage/not-found" });
    for await (const chunk of bucket.stream("p/00/x")) expect(chunk.length).toBe(3);
    await bucket.head("p/00/y");
    const upload = await bucket.createUpload("c/00/x");
    await upload.append(Buffer.from("four"));
    await upload.finish();
    await upload.abort();
    await (await bucket.createUpload("c/00/y")).abort();
    await bucket.delete(["c/00/x", "c/00/y"]);
    for await (const { key } of bucket.list("")) expect(key).toBe("p/00/x");
    const none = { calls: 0, failures: 0, bytesWritten: 0, bytesRead: 0 };
    expect(bucket.counts()).toEqual({
      put: { ...none, calls: 1, bytesWritten: 3 },
      upload: { ...none, calls: 2, failures: 1, bytesWritten: 4 },
      get: { ...none, calls: 2, failures: 1, bytesRead: 2 },
      stream: { ...none, calls: 1, bytesRead: 3 },
      head: { ...none, calls: 1 },
      delete: { ...none, calls: 1 },
      list: { ...none, calls: 1 },
      sweep: none,
      openFile: none,
      presign: none,
      probe: none,
    });
    expect(ended).toEqual([
      "put",
      "get",
      "get failed",
      "stream",
      "head",
      "upload",
      "upload failed",
      "delete",
      "list",
    ]);
    bucket.reset();
    expect(bucket.counts().put).toEqual(none);
  });

  it("can presign where the bucket can", async () => {
    expect(createCountedBucket(createMemoryBucket()).presign).toBeUndefined();
    const bucket = createCountedBucket({ ...createMemoryBucket(), presign: async (key) => `https://${key}` });
    expect(await bucket.presign?.("p/00/x", { expiresSeconds: 1 })).toBe("https://p/00/x");
    expect(bucket.counts().presign.calls).toBe(1);
  });
});
