import { describe, expect, it } from "vitest";
import { bucketSuite } from "./bucket-suite.js";
import { createMemoryBucket } from "./memory-bucket.js";

bucketSuite(
  { describe, it },
  {
    name: "memory",
    async open() {
      const bucket = createMemoryBucket();
      return { bucket, reopen: async () => bucket, dispose: () => bucket.close() };
    },
  },
);

describe("createMemoryBucket", () => {
  it("notices other bytes under a key that was written", async () => {
    const bucket = createMemoryBucket();
    await bucket.put("p/00/x", [Buffer.from("one")]);
    await expect(bucket.put("p/00/x", [Buffer.from("two")])).rejects.toMatchObject({
      code: "base/invariant",
    });
    expect((await bucket.get("p/00/x")).toString()).toBe("one");
  });
});
