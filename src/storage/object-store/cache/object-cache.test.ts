import { randomBytes } from "node:crypto";
import { existsSync, openSync } from "node:fs";
import { mkdtemp, open, readdir, rm, unlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as othersTurn } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ByteRange } from "../../../base/byte-range.js";
import type { Bucket } from "../bucket/bucket.js";
import { createCountedBucket } from "../bucket/counted-bucket.js";
import { openDirectoryBucket } from "../bucket/directory-bucket.js";
import { createMemoryBucket } from "../bucket/memory-bucket.js";
import { ObjectCache, type ObjectCacheOptions } from "./object-cache.js";
import { PartialObject } from "./partial-object.js";

const KiB = 1024;

let directory: string;
let closing: (() => Promise<unknown>)[];
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "gitwharf-cache-"));
  closing = [];
});
afterEach(async () => {
  for (const close of closing) await close();
  await rm(directory, { recursive: true, force: true });
});

function openCache(bucket: Bucket, options: Partial<ObjectCacheOptions> = {}): ObjectCache {
  const cache = new ObjectCache({
    bucket,
    directory: join(directory, "cache"),
    blockBytes: 64 * KiB,
    wholeBytesMax: 256 * KiB,
    aheadBytesMax: 1024 * KiB,
    ...options,
  });
  closing.push(() => cache.close());
  return cache;
}

async function bucketWith(objects: Record<string, Buffer>): Promise<ReturnType<typeof createCountedBucket>> {
  const bucket = createMemoryBucket();
  for (const [key, bytes] of Object.entries(objects)) await bucket.put(key, [bytes]);
  return createCountedBucket(bucket);
}

const read = async (range: ByteRange, offset: number, length: number): Promise<Buffer> =>
  Buffer.from(await range.read(offset, length));

describe("object cache", () => {
  it("fetches a small object once, whole, whoever asks for whatever of it", async () => {
    const bytes = randomBytes(15 * KiB);
    const bucket = await bucketWith({ a: bytes });
    const cache = openCache(bucket);
    const opened = await Promise.all([1, 2, 3].map(() => cache.open("a", bytes.length)));
    const parts = await Promise.all(opened.map(({ prefix }, i) => read(prefix(bytes.length), i * 5000, 100)));
    parts.forEach((part, i) => expect(part).toEqual(bytes.subarray(i * 5000, i * 5000 + 100)));
    const target = new Uint8Array(9 * KiB);
    await opened[0]?.readInto(target, 6 * KiB);
    expect(Buffer.from(target)).toEqual(bytes.subarray(6 * KiB));
    expect(bucket.counts().stream.calls + bucket.counts().get.calls).toBe(1);
    expect(cache.sizeBytes).toBe(bytes.length);
    for (const { release } of opened) release();
  });

  it("fetches of a large object what is read, and further ahead the longer it is read in order", async () => {
    const bytes = randomBytes(6400 * KiB);
    const bucket = await bucketWith({ a: bytes });
    const cache = openCache(bucket);
    const { prefix, release } = await cache.open("a", bytes.length);
    const range = prefix(bytes.length);
    expect(await read(range, 3200 * KiB, 10)).toEqual(bytes.subarray(3200 * KiB, 3200 * KiB + 10));
    expect(cache.sizeBytes).toBe(64 * KiB);
    for (let at = 0; at < bytes.length; at += 64 * KiB)
      expect(bytes.subarray(at, at + 64 * KiB).equals(await read(range, at, 64 * KiB))).toBe(true);
    expect(bucket.counts().stream.calls).toBeLessThan(14);
    expect(bucket.counts().stream.bytesRead).toBe(bytes.length);
    release();
  });

  it("answers a prefix, and nothing behind it", async () => {
    const bytes = randomBytes(10 * KiB);
    const cache = openCache(await bucketWith({ a: bytes }));
    const { prefix, release } = await cache.open("a", bytes.length);
    expect(await read(prefix(5000), 4990, 100)).toEqual(bytes.subarray(4990, 5000));
    expect(await read(prefix(5000), 6000, 100)).toEqual(Buffer.alloc(0));
    release();
  });

  it("keeps to its bounds, and what is in use", async () => {
    const objects = Object.fromEntries(Array.from({ length: 8 }, (_, i) => [`o${i}`, randomBytes(10 * KiB)]));
    const bucket = await bucketWith(objects);
    const cache = openCache(bucket, { bytesMax: 25 * KiB });
    const held = await cache.open("o0", 10 * KiB);
    for (const [key, bytes] of Object.entries(objects)) {
      const { prefix, release } = await cache.open(key, bytes.length);
      expect(await read(prefix(bytes.length), 0, bytes.length)).toEqual(bytes);
      release();
      expect(cache.sizeBytes).toBeLessThanOrEqual(25 * KiB);
    }
    const before = bucket.counts().stream.calls;
    expect(await read(held.prefix(10 * KiB), 9000, 10)).toEqual(objects["o0"]?.subarray(9000, 9010));
    expect(bucket.counts().stream.calls).toBe(before);
    held.release();
  });

  it("leaves no file behind, not even one with a name", async () => {
    const cache = openCache(await bucketWith({ a: randomBytes(KiB) }));
    const { prefix } = await cache.open("a", KiB);
    await prefix(KiB).read(0, 10);
    expect(await readdir(join(directory, "cache"))).toEqual([]);
  });

  it("tries again after a failure, and says what failed", async () => {
    const bytes = randomBytes(10 * KiB);
    const bucket = createMemoryBucket();
    await bucket.put("short", [bytes.subarray(0, 5000)]);
    const cache = openCache(bucket);
    const absent = await cache.open("absent", bytes.length);
    await expect(read(absent.prefix(10), 0, 10)).rejects.toMatchObject({ code: "storage/corrupt" });
    await bucket.put("absent", [bytes]);
    expect(await read(absent.prefix(10), 0, 10)).toEqual(bytes.subarray(0, 10));
    absent.release();
    const short = await cache.open("short", bytes.length);
    await expect(read(short.prefix(bytes.length), 9000, 10)).rejects.toThrow("ends at 5000 instead of");
    short.release();
  });

  it("takes what was just written, and asks for none of it", async () => {
    const bucket = await bucketWith({});
    const cache = openCache(bucket);
    const parts = [randomBytes(5000), randomBytes(7000)];
    await cache.adopt("a", parts);
    const { prefix, release } = await cache.open("a", 12_000);
    expect(await read(prefix(12_000), 0, 12_000)).toEqual(Buffer.concat(parts));
    expect(bucket.counts().stream.calls).toBe(0);
    release();
  });

  it("takes a file that has the bytes, and keeps it when its name has gone", async () => {
    const bucket = await bucketWith({});
    const cache = openCache(bucket);
    const bytes = randomBytes(300 * KiB);
    const path = join(directory, "spooled");
    await writeFile(path, bytes);
    await cache.adoptFile("a", { path, sizeBytes: bytes.length });
    // Whatever is wrong with these, they are fetched when they are asked for.
    await cache.adoptFile("b", { path, sizeBytes: 10 });
    await cache.adoptFile("c", { path: join(directory, "absent"), sizeBytes: 10 });
    await unlink(path);
    expect(cache.sizeBytes).toBe(bytes.length);
    const { prefix, release } = await cache.open("a", bytes.length);
    expect((await read(prefix(bytes.length), 0, bytes.length)).equals(bytes)).toBe(true);
    expect(bucket.counts().stream.calls).toBe(0);
    release();
  });

  it.skipIf(!existsSync("/dev/full"))(
    "gives up other copies when the disk is full, and then says so",
    async () => {
      const fd = openSync("/dev/full", "r+");
      let room = 2;
      const object = new PartialObject({
        bucket: await bucketWith({ a: randomBytes(10) }),
        key: "a",
        fd,
        sizeBytes: 10,
        channel: "none",
        limits: { blockBytes: 64 * KiB, wholeBytesMax: 0, aheadBytesMax: 0 },
        onBytes: () => undefined,
        makeRoom: () => --room >= 0,
      });
      await expect(object.fill(0, 0)).rejects.toThrow("writing the local copy of a failed: ENOSPC");
      expect(room).toBe(-1);
      object.close();
    },
  );

  it("waits for what is about to be given back before it says that there is no room", async () => {
    const bytes = randomBytes(KiB);
    const cache = openCache(await bucketWith({ a: bytes }));
    const { prefix, release } = await cache.open("a", bytes.length);
    await read(prefix(bytes.length), 0, bytes.length);
    const made = cache.makeRoom();
    for (let turn = 0; turn < 10; turn++) await othersTurn();
    expect(cache.sizeBytes).toBe(bytes.length);
    release();
    expect(await made).toBe(true);
    expect(cache.sizeBytes).toBe(0);
  });

  it("reads the files of a bucket that is a directory where they are", async () => {
    const bucket = await openDirectoryBucket({ directory: join(directory, "bucket"), sync: false });
    const bytes = randomBytes(30 * KiB);
    await bucket.put("p/a", [bytes]);
    const cache = openCache(bucket);
    const { prefix, readInto, release } = await cache.open("p/a", bytes.length);
    expect(await read(prefix(20_000), 19_000, 5000)).toEqual(bytes.subarray(19_000, 20_000));
    const target = new Uint8Array(10);
    await readInto(target, 25_000);
    expect(Buffer.from(target)).toEqual(bytes.subarray(25_000, 25_010));
    expect(cache.sizeBytes).toBe(0);
    release();
    await expect(cache.open("p/absent", 10)).rejects.toThrow("'p/absent' is missing in ");
  });

  it("fetches for worker threads, which wait", async () => {
    const bytes = randomBytes(1000 * KiB);
    const bucket = await bucketWith({ a: bytes });
    const cache = openCache(bucket);
    const { prefix, release } = await cache.open("a", bytes.length);
    const descriptor = prefix(bytes.length).describe();
    const source = `
      const { parentPort, workerData } = require("node:worker_threads");
      import(workerData.module).then(({ openByteRange }) => {
        const range = openByteRange(workerData.descriptor, { blocking: true });
        const parts = [[900_000, 3000], [0, 10], [500_000, 100_000]].map(([at, length]) => range.read(at, length));
        parentPort.postMessage(parts.map((part) => part.toString("hex")));
      });`;
    const module = new URL("../../../base/byte-range.js", import.meta.url).href;
    const worker = new Worker(source, { eval: true, workerData: { module, descriptor } });
    const parts = await new Promise((resolve, reject) => {
      worker.once("message", resolve);
      worker.once("error", reject);
    });
    expect(parts).toEqual(
      [bytes.subarray(900_000, 903_000), bytes.subarray(0, 10), bytes.subarray(500_000, 600_000)].map(
        (part) => part.toString("hex"),
      ),
    );
    await worker.terminate();
    release();
  });

  it("tells worker threads that something could not be fetched", async () => {
    const cache = openCache(await bucketWith({}));
    const { prefix, release } = await cache.open("absent", 1000);
    const source = `
      const { parentPort, workerData } = require("node:worker_threads");
      import(workerData.module).then(({ openByteRange }) => {
        const range = openByteRange(workerData.descriptor, { blocking: true });
        const codes = [0, 1].map(() => { try { range.read(0, 10); } catch (error) { return error.code; } });
        parentPort.postMessage(codes);
      });`;
    const module = new URL("../../../base/byte-range.js", import.meta.url).href;
    const workerData = { module, descriptor: prefix(1000).describe() };
    const worker = new Worker(source, { eval: true, workerData });
    const codes = await new Promise((resolve, reject) => {
      worker.once("message", resolve);
      worker.once("error", reject);
    });
    expect(codes).toEqual(["storage/io", "storage/io"]);
    await worker.terminate();
    release();
  });

  it("asks for what is only kept at hand before it goes beyond its bounds", async () => {
    const objects = Object.fromEntries(Array.from({ length: 6 }, (_, i) => [`o${i}`, randomBytes(10 * KiB)]));
    const kept: (() => void)[] = [];
    const cache = openCache(await bucketWith(objects), {
      bytesMax: 25 * KiB,
      onFull: () => {
        const release = kept.shift();
        release?.();
        return release !== undefined;
      },
    });
    for (const [key, bytes] of Object.entries(objects)) {
      const { prefix, release } = await cache.open(key, bytes.length);
      kept.push(release);
      expect(await read(prefix(bytes.length), 0, bytes.length)).toEqual(bytes);
      expect(cache.sizeBytes).toBeLessThanOrEqual(25 * KiB);
    }
    expect(kept).toHaveLength(2);
  });

  it("reads nothing of another file once an object is closed", async () => {
    const bytes = randomBytes(1000 * KiB);
    const local = await openDirectoryBucket({ directory: join(directory, "bucket"), sync: false });
    await local.put("a", [bytes]);
    for (const bucket of [local, await bucketWith({ a: bytes })]) {
      const cache = openCache(bucket);
      const opened = await cache.open("a", bytes.length);
      const range = opened.prefix(bytes.length);
      const underWay = read(range, 0, 900 * KiB);
      const target = opened.readInto(new Uint8Array(10), 0);
      await target;
      const late = bucket === local ? underWay : underWay.catch(() => bytes.subarray(0, 900 * KiB));
      await cache.close();
      // Those that have their descriptor's number now are not what is read.
      const files = await Promise.all([1, 2, 3].map((i) => open(join(directory, `other-${i}`), "w+")));
      expect((await late).equals(bytes.subarray(0, 900 * KiB))).toBe(true);
      await expect((async () => range.read(950 * KiB, 10))()).rejects.toMatchObject({ code: "storage/io" });
      for (const file of files) await file.close();
    }
  });

  it("wakes worker threads when it is closed", async () => {
    const bucket = await bucketWith({ a: randomBytes(KiB) });
    let onAsked = (): void => {};
    const asked = new Promise<void>((resolve) => (onAsked = resolve));
    // Never answers.
    async function* stream(): AsyncIterable<Buffer> {
      onAsked();
      await new Promise(() => undefined);
      yield Buffer.alloc(0);
    }
    const cache = openCache({ ...bucket, stream });
    const { prefix } = await cache.open("a", KiB);
    const source = `
      const { parentPort, workerData } = require("node:worker_threads");
      import(workerData.module).then(({ openByteRange }) => {
        const range = openByteRange(workerData.descriptor, { blocking: true });
        const codes = [0, 1].map(() => { try { range.read(0, 10); } catch (error) { return error.code; } });
        parentPort.postMessage(codes);
      });`;
    const module = new URL("../../../base/byte-range.js", import.meta.url).href;
    const worker = new Worker(source, {
      eval: true,
      workerData: { module, descriptor: prefix(KiB).describe() },
    });
    const codes = new Promise((resolve, reject) => {
      worker.once("message", resolve);
      worker.once("error", reject);
    });
    await asked;
    await cache.close();
    expect(await codes).toEqual(["storage/io", "storage/io"]);
    await worker.terminate();
  });
});
