/** Bytes of a pack from its own object and from containers: the same however they are asked for. */
import { randomBytes } from "node:crypto";
import { expect, it } from "vitest";
import type { BucketRange } from "./bucket/bucket.js";
import { createMemoryBucket } from "./bucket/memory-bucket.js";
import type { Recipe } from "./chunks/recipe.js";
import { SplicedPack } from "./spliced-pack.js";

const CHUNK = 1000;

/** A pack with a blob of some chunks behind each 100 of its own bytes. */
async function makePack(blobs: number, chunksEach: number) {
  const bucket = createMemoryBucket();
  const container = randomBytes(blobs * chunksEach * CHUNK);
  await bucket.put("c/00/x.chunks", [container]);
  const own = randomBytes((blobs + 1) * 100);
  await bucket.put("p/00/x.pack", [own]);
  const parts: Buffer[] = [own.subarray(0, 100)];
  let recipes = 0;
  const splices = Array.from({ length: blobs }, (_, blob) => {
    // Every other one backwards, so that its chunks do not stand side by side.
    const chunks = Array.from({ length: chunksEach }, (__, i) => {
      const offset = (blob * chunksEach + (blob % 2 === 0 ? i : chunksEach - 1 - i)) * CHUNK;
      parts.push(container.subarray(offset, offset + CHUNK));
      const containerKey = "c/00/x.chunks";
      return { id: "00".repeat(32), containerKey, offset, storedBytes: CHUNK, sizeBytes: CHUNK, adler32: 1 };
    });
    parts.push(own.subarray((blob + 1) * 100, (blob + 2) * 100));
    const storedBytes = chunksEach * CHUNK;
    const recipe: Recipe = { sizeBytes: storedBytes, storedBytes, chunks };
    return {
      start: 100 + blob * (storedBytes + 100),
      storedBytes,
      recipe: () => {
        recipes++;
        return recipe;
      },
    };
  });
  const bytes = Buffer.concat(parts);
  const options = { key: "p/00/x.pack", ownBytes: own.length, packBytes: bytes.length, splices };
  const pack = new SplicedPack({ bucket, ...options });
  const read = async (range?: BucketRange): Promise<Buffer> => {
    const found: Buffer[] = [];
    for await (const part of pack.stream("any", range)) found.push(part);
    return Buffer.concat(found);
  };
  return { bytes, read, recipes: () => recipes };
}

it("answers with the bytes of every range", async () => {
  const { bytes, read } = await makePack(3, 3);
  expect((await read()).equals(bytes)).toBe(true);
  const edges = [0, 1, 99, 100, 101, 1100, 1500, 3099, 3100, 3101, 3200, 4250, 6300, bytes.length - 1];
  for (const start of edges)
    for (const end of [...edges, bytes.length, bytes.length + 10])
      if (end > start) expect((await read({ start, end })).equals(bytes.subarray(start, end))).toBe(true);
});

it("looks once for where the chunks of a blob stand that is read part by part", async () => {
  const { bytes, read, recipes } = await makePack(2, 50);
  for (let start = 0; start < bytes.length; start += 700) await read({ start, end: start + 700 });
  expect(recipes()).toBe(2);
  // Not of all blobs at once.
  const many = await makePack(20, 1);
  for (let round = 0; round < 2; round++) await many.read();
  expect(many.recipes()).toBe(40);
});
