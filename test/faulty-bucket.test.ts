/** The bucket that fails for tests: what has happened when it says that something did not. */
import { describe, expect, it } from "vitest";
import { bucketSuite } from "../src/storage/object-store/bucket/bucket-suite.js";
import { createMemoryBucket } from "../src/storage/object-store/bucket/memory-bucket.js";
import { createFaultyBucket, type Fault, stoppedAt } from "./support/faulty-bucket.js";

bucketSuite(
  { describe, it },
  {
    name: "memory, faulty, but without faults",
    async open() {
      const bucket = createFaultyBucket(createMemoryBucket(), () => undefined);
      return { bucket, reopen: async () => bucket, dispose: () => bucket.close() };
    },
  },
);

const FAULTS: Record<number, Fault> = { 1: "before", 2: "lost" };

describe("createFaultyBucket", () => {
  const FAILS = { code: "storage/io" };

  it("fails before a call or after it", async () => {
    const inner = createMemoryBucket();
    const bucket = createFaultyBucket(inner, ({ number }) => FAULTS[number]);
    await expect(bucket.put("p/00/a", [])).rejects.toMatchObject(FAILS);
    await expect(bucket.put("p/00/b", [])).rejects.toMatchObject(FAILS);
    await bucket.put("p/00/c", []);
    expect(await Promise.all(["a", "b", "c"].map((name) => inner.head(`p/00/${name}`)))).toEqual([
      undefined,
      { sizeBytes: 0 },
      { sizeBytes: 0 },
    ]);
    expect(bucket.calls.map(({ operation, key }) => `${operation} ${key}`)).toEqual([
      "put p/00/a",
      "put p/00/b",
      "put p/00/c",
    ]);
  });

  it("stops for good", async () => {
    const inner = createMemoryBucket();
    const bucket = createFaultyBucket(inner, stoppedAt(3, "lost"));
    const upload = await bucket.createUpload("c/00/x");
    await upload.append(Buffer.from("x"));
    await expect(upload.finish()).rejects.toMatchObject(FAILS);
    expect(await inner.head("c/00/x")).toEqual({ sizeBytes: 1 });
    await upload.abort();
    await expect(bucket.delete(["c/00/x"])).rejects.toMatchObject(FAILS);
    expect(await inner.head("c/00/x")).toEqual({ sizeBytes: 1 });
  });

  it("does half, or waits", async () => {
    const inner = createMemoryBucket();
    for (const name of ["a", "b"]) await inner.put(`p/00/${name}`, [Buffer.from("whole")]);
    let go = (): void => undefined;
    const slow = new Promise<void>((resolve) => {
      go = resolve;
    });
    const bucket = createFaultyBucket(inner, ({ number }) => (number === 1 ? { slow } : "truncated"));
    let isRead = false;
    const read = bucket.get("p/00/a").then((bytes) => {
      isRead = true;
      return bytes.toString();
    });
    await inner.head("p/00/a");
    expect(isRead).toBe(false);
    go();
    expect(await read).toBe("whole");
    const pieces: string[] = [];
    const streamed = (async () => {
      for await (const chunk of bucket.stream("p/00/a")) pieces.push(chunk.toString());
    })();
    await expect(streamed).rejects.toMatchObject(FAILS);
    expect(pieces).toEqual(["wh"]);
    await expect(bucket.delete(["p/00/a", "p/00/b"])).rejects.toMatchObject(FAILS);
    expect(await inner.head("p/00/a")).toBeUndefined();
    expect(await inner.head("p/00/b")).toEqual({ sizeBytes: 5 });
  });
});
