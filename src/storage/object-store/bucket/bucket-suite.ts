/** What every `Bucket` must keep. How to run it: ../../contracts/suites/suite-runner.ts; a backend here opens buckets. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { closeSync, readSync } from "node:fs";
import type { ErrorCode } from "../../../base/error-codes.js";
import { isGitwharfError } from "../../../base/errors.js";
import type { SuiteRunner } from "../../contracts/suites/suite-runner.js";
import type { Bucket, BucketListOptions } from "./bucket.js";

export interface BucketBackend {
  /** Appears in the titles. */
  readonly name: string;
  /** An empty bucket for one test. */
  open(): Promise<OpenedBucket>;
  /** More than goes into one request of an upload. @default 300,000 */
  readonly largeBytes?: number;
}

export interface OpenedBucket {
  readonly bucket: Bucket;
  /** A second one over the same bytes, as another process has it; the same one where there is no other way. */
  reopen(): Promise<Bucket>;
  /** Closes the buckets and removes what the test left. */
  dispose(): Promise<void>;
}

export function bucketSuite(runner: SuiteRunner, backend: BucketBackend): void {
  const { describe, it } = runner;
  const largeBytes = backend.largeBytes ?? 300_000;

  const withBucket =
    (body: (bucket: Bucket, opened: OpenedBucket) => Promise<void>) => async (): Promise<void> => {
      const opened = await backend.open();
      try {
        await body(opened.bucket, opened);
      } finally {
        await opened.dispose();
      }
    };

  describe(`bucket: ${backend.name}`, () => {
    describe("put", () => {
      it(
        "writes what get reads, in this process and in another",
        withBucket(async (bucket, opened) => {
          await bucket.put("p/00/one.pack", [Buffer.from("PA"), Buffer.alloc(0), Buffer.from("CK")]);
          assert.equal((await bucket.get("p/00/one.pack")).toString(), "PACK");
          const other = await opened.reopen();
          assert.equal((await other.get("p/00/one.pack")).toString(), "PACK");
          assert.deepEqual(await other.head("p/00/one.pack"), { sizeBytes: 4 });
        }),
      );

      it(
        "opens the file of an object, where it has such",
        withBucket(async (bucket) => {
          if (bucket.openFile === undefined) return;
          await bucket.put("p/00/file", [Buffer.from("PACK")]);
          const { fd, sizeBytes } = await bucket.openFile("p/00/file");
          const bytes = Buffer.alloc(4);
          try {
            readSync(fd, bytes, 0, 4, 0);
          } finally {
            closeSync(fd);
          }
          assert.deepEqual([sizeBytes, bytes.toString()], [4, "PACK"]);
          await assert.rejects(bucket.openFile("p/00/absent"), (error) =>
            isGitwharfError(error, "storage/not-found"),
          );
        }),
      );

      it(
        "takes bytes that are part of a larger buffer, and all values of a byte",
        withBucket(async (bucket) => {
          const all = Uint8Array.from({ length: 1024 }, (_, at) => at % 256);
          await bucket.put("p/00/all", [all.subarray(128, 640)]);
          assert.deepEqual(await bucket.get("p/00/all"), Buffer.from(all.subarray(128, 640)));
        }),
      );

      it(
        "takes nothing at all",
        withBucket(async (bucket) => {
          await bucket.put("p/00/empty", []);
          assert.deepEqual(await bucket.head("p/00/empty"), { sizeBytes: 0 });
          assert.equal((await bucket.get("p/00/empty")).length, 0);
          assert.equal((await bucket.get("p/00/empty", { start: 0, end: 10 })).length, 0);
          assert.equal((await collect(bucket, "p/00/empty")).length, 0);
        }),
      );

      it(
        "takes the same bytes again: the answer to the first may have been lost",
        withBucket(async (bucket) => {
          await bucket.put("n/00/node", [Buffer.from("node")]);
          await bucket.put("n/00/node", [Buffer.from("no"), Buffer.from("de")]);
          assert.equal((await bucket.get("n/00/node")).toString(), "node");
        }),
      );

      it(
        "of many at once keeps each",
        withBucket(async (bucket) => {
          const keys = Array.from({ length: 40 }, (_, at) => `p/${String(at % 4).padStart(2, "0")}/x${at}`);
          await Promise.all(keys.map((key) => bucket.put(key, [Buffer.from(key)])));
          const read = await Promise.all(keys.map(async (key) => (await bucket.get(key)).toString()));
          assert.deepEqual(read, keys);
        }),
      );

      it(
        "of the same key at once by several leaves one whole object",
        withBucket(async (bucket, opened) => {
          const other = await opened.reopen();
          const bytes = numbered(largeBytes, 1);
          await Promise.all([bucket, other, bucket, other].map((each) => each.put("p/00/race", [bytes])));
          assert.equal(digest(await bucket.get("p/00/race")), digest(bytes));
          assert.deepEqual(await keysOf(bucket, ""), ["p/00/race"]);
        }),
      );
    });

    describe("get and stream", () => {
      it(
        "read ranges, and no more than there is",
        withBucket(async (bucket) => {
          const bytes = numbered(largeBytes, 2);
          await bucket.put("p/01/range", [bytes]);
          const end = bytes.length;
          for (const range of [
            { start: 0, end: 1 },
            { start: 0, end },
            { start: 1000, end: 5000 },
            { start: end - 1, end },
            { start: end - 10, end: end + 10 },
            { start: end, end: end + 1 },
            { start: end + 5, end: end + 10 },
            { start: 7, end: 7 },
          ]) {
            const wanted = digest(bytes.subarray(range.start, range.end));
            const title = `${range.start}-${range.end}`;
            assert.equal(digest(await bucket.get("p/01/range", range)), wanted, `get ${title}`);
            assert.equal(digest(await collect(bucket, "p/01/range", range)), wanted, `stream ${title}`);
          }
          assert.equal(digest(await collect(bucket, "p/01/range")), digest(bytes));
        }),
      );

      it(
        "say that a key is not there",
        withBucket(async (bucket) => {
          await bucket.put("p/02/there", [Buffer.from("x")]);
          for (const key of ["p/02/not-there", "p/02", "q/02/x", "p/02/there2"]) {
            await rejects(bucket.get(key), "storage/not-found", key);
            await rejects(bucket.get(key, { start: 1, end: 2 }), "storage/not-found", key);
            await rejects(collect(bucket, key), "storage/not-found", key);
            assert.equal(await bucket.head(key), undefined);
          }
        }),
      );

      it(
        "may be left early, again and again",
        withBucket(async (bucket) => {
          const bytes = numbered(largeBytes, 3);
          await bucket.put("p/03/left", [bytes]);
          for (let round = 0; round < 60; round++) {
            for await (const chunk of bucket.stream("p/03/left")) {
              assert.ok(chunk.length > 0 && chunk.length <= bytes.length);
              break;
            }
          }
          assert.equal(digest(await bucket.get("p/03/left")), digest(bytes));
        }),
      );

      it(
        "answer with bytes that the caller may change",
        withBucket(async (bucket) => {
          await bucket.put("p/03/own", [Buffer.from("abc")]);
          (await bucket.get("p/03/own")).fill(0);
          for await (const chunk of bucket.stream("p/03/own")) chunk.fill(0);
          assert.equal((await bucket.get("p/03/own")).toString(), "abc");
        }),
      );
    });

    describe("an upload", () => {
      it(
        "is not there before it is finished, and whole afterwards",
        withBucket(async (bucket, opened) => {
          const bytes = numbered(largeBytes, 4);
          const upload = await bucket.createUpload("c/00/large");
          for (let at = 0; at < bytes.length; at += 70_001) {
            const piece = Buffer.from(bytes.subarray(at, at + 70_001));
            await upload.append(piece);
            // What was given is the caller's again.
            piece.fill(0);
          }
          assert.equal(await bucket.head("c/00/large"), undefined);
          assert.deepEqual(await keysOf(bucket, ""), []);
          assert.deepEqual(await upload.finish(), { sizeBytes: bytes.length });
          assert.equal(digest(await (await opened.reopen()).get("c/00/large")), digest(bytes));
          await upload.abort();
          assert.deepEqual(await bucket.head("c/00/large"), { sizeBytes: bytes.length });
        }),
      );

      it(
        "of nothing, and of little",
        withBucket(async (bucket) => {
          assert.deepEqual(await (await bucket.createUpload("c/01/none")).finish(), { sizeBytes: 0 });
          const little = await bucket.createUpload("c/01/little");
          await little.append(Buffer.from("a"));
          await little.append(Buffer.alloc(0));
          await little.append(Buffer.from("b"));
          assert.deepEqual(await little.finish(), { sizeBytes: 2 });
          assert.equal((await bucket.get("c/01/none")).length, 0);
          assert.equal((await bucket.get("c/01/little")).toString(), "ab");
        }),
      );

      it(
        "that is aborted leaves nothing, before a byte and after many",
        withBucket(async (bucket) => {
          const none = await bucket.createUpload("c/02/none");
          await none.abort();
          const much = await bucket.createUpload("c/02/much");
          await much.append(numbered(largeBytes, 5));
          await much.abort();
          await much.abort();
          assert.deepEqual(await keysOf(bucket, ""), []);
          await rejects(much.append(Buffer.from("x")), "base/invariant");
          await rejects(much.finish(), "base/invariant");
          assert.equal(await bucket.head("c/02/much"), undefined);
        }),
      );

      it(
        "is finished once",
        withBucket(async (bucket) => {
          const upload = await bucket.createUpload("c/03/once");
          await upload.append(Buffer.from("once"));
          await upload.finish();
          await rejects(upload.finish(), "base/invariant");
          await rejects(upload.append(Buffer.from("twice")), "base/invariant");
          assert.equal((await bucket.get("c/03/once")).toString(), "once");
        }),
      );

      it(
        "ends with the caller's signal, and leaves nothing",
        withBucket(async (bucket) => {
          const caller = new AbortController();
          const upload = await bucket.createUpload("c/04/left", { signal: caller.signal });
          await upload.append(numbered(largeBytes, 6));
          caller.abort();
          await rejects(upload.append(Buffer.from("x")), "base/aborted");
          await upload.abort();
          assert.deepEqual(await keysOf(bucket, ""), []);
        }),
      );
    });

    describe("delete", () => {
      it(
        "removes what is there and does not mind what is not",
        withBucket(async (bucket) => {
          for (const key of ["p/00/a", "p/00/b", "p/01/c"]) await bucket.put(key, [Buffer.from(key)]);
          await bucket.delete([]);
          await bucket.delete(["p/00/a", "p/01/none", "p/01/c", "zz/none/at-all"]);
          await bucket.delete(["p/00/a"]);
          assert.deepEqual(await keysOf(bucket, ""), ["p/00/b"]);
          await rejects(bucket.get("p/00/a"), "storage/not-found", "p/00/a");
          assert.equal(await bucket.head("p/01/c"), undefined);
        }),
      );

      it(
        "removes more than one request takes, and list finds more than one answer holds",
        withBucket(async (bucket) => {
          const keys = Array.from({ length: 1005 }, (_, at) => `m/${String(at).padStart(4, "0")}`);
          for (let at = 0; at < keys.length; at += 100)
            await Promise.all(keys.slice(at, at + 100).map((key) => bucket.put(key, [])));
          assert.deepEqual(await keysOf(bucket, "m/"), keys);
          assert.deepEqual(await keysOf(bucket, "m/", { after: "m/1001" }), keys.slice(1002));
          await bucket.delete([...keys.slice(1), ...keys.slice(1)]);
          assert.deepEqual(await keysOf(bucket, ""), ["m/0000"]);
        }),
      );
    });

    describe("list", () => {
      it(
        "goes by the bytes of the keys, below a prefix, behind a key",
        withBucket(async (bucket) => {
          const keys = ["a-b/x", "a.b", "a/b", "a/b.c/d", "a/b/c", "a0", "a_/x", "b/a/x", "b/b"];
          // Of "a/b" and "a/b/c" only one can be.
          const written = keys.filter((key) => key !== "a/b");
          for (const key of written.toReversed()) await bucket.put(key, [Buffer.from(key)]);
          assert.deepEqual(await keysOf(bucket, ""), written);
          assert.deepEqual(await keysOf(bucket, "a/"), ["a/b.c/d", "a/b/c"]);
          assert.deepEqual(await keysOf(bucket, "a/b/"), ["a/b/c"]);
          assert.deepEqual(await keysOf(bucket, "a/b"), ["a/b.c/d", "a/b/c"]);
          assert.deepEqual(await keysOf(bucket, "b"), ["b/a/x", "b/b"]);
          assert.deepEqual(await keysOf(bucket, "a/b/c"), ["a/b/c"]);
          assert.deepEqual(await keysOf(bucket, "c/"), []);
          for (const after of ["a/b.c/d", "a/b.c/c", "a/b", "a.b", "b/a/x", "zz"]) {
            const behind = written.filter((key) => key > after);
            assert.deepEqual(await keysOf(bucket, "", { after }), behind, after);
          }
          assert.deepEqual(await keysOf(bucket, "a/b", { after: "a/b.c/d" }), ["a/b/c"]);
        }),
      );

      it(
        "tells sizes and times",
        withBucket(async (bucket) => {
          await bucket.put("l/00/x", [Buffer.from("four")]);
          for await (const entry of bucket.list("l/")) {
            assert.deepEqual([entry.key, entry.sizeBytes], ["l/00/x", 4]);
            // The clock of the store is not ours: the day will do.
            assert.ok(Math.abs(Date.now() - entry.modifiedMs) < 24 * 60 * 60 * 1000);
          }
        }),
      );

      it(
        "may be left early",
        withBucket(async (bucket) => {
          for (const key of ["l/00/a", "l/00/b"]) await bucket.put(key, []);
          for await (const { key } of bucket.list("")) {
            assert.equal(key, "l/00/a");
            break;
          }
          assert.deepEqual(await keysOf(bucket, ""), ["l/00/a", "l/00/b"]);
        }),
      );
    });

    it(
      "sweeps what was never finished once it is old, and nothing else",
      withBucket(async (bucket) => {
        await bucket.put("p/00/x", [Buffer.from("x")]);
        const upload = await bucket.createUpload("c/05/slow");
        await upload.append(numbered(largeBytes, 7));
        await bucket.sweep({ olderThanMs: 24 * 60 * 60 * 1000 });
        await upload.append(Buffer.from("end"));
        assert.deepEqual(await upload.finish(), { sizeBytes: largeBytes + 3 });
        const forgotten = await bucket.createUpload("c/05/forgotten");
        await forgotten.append(numbered(largeBytes, 8));
        await bucket.sweep({ olderThanMs: -24 * 60 * 60 * 1000 });
        assert.deepEqual(await keysOf(bucket, ""), ["c/05/slow", "p/00/x"]);
        await forgotten.abort();
        assert.deepEqual(await keysOf(bucket, ""), ["c/05/slow", "p/00/x"]);
      }),
    );

    it(
      "answers the probe",
      withBucket(async (bucket) => {
        await bucket.probe();
        assert.deepEqual(await keysOf(bucket, ""), []);
      }),
    );

    it(
      "does nothing for a caller who has gone",
      withBucket(async (bucket) => {
        await bucket.put("p/00/x", [Buffer.from("x")]);
        const options = { signal: AbortSignal.abort() };
        await rejects(bucket.put("p/00/y", [], options), "base/aborted");
        await rejects(bucket.createUpload("p/00/y", options), "base/aborted");
        await rejects(bucket.get("p/00/x", undefined, options), "base/aborted");
        await rejects(collect(bucket, "p/00/x", undefined, options), "base/aborted");
        await rejects(bucket.head("p/00/x", options), "base/aborted");
        await rejects(bucket.delete(["p/00/x"], options), "base/aborted");
        await rejects(keysOf(bucket, "", options), "base/aborted");
        await rejects(bucket.probe(options), "base/aborted");
        assert.deepEqual(await keysOf(bucket, ""), ["p/00/x"]);
      }),
    );

    it(
      "takes no key that would mean something else elsewhere",
      withBucket(async (bucket) => {
        await bucket.put("p/00/x", []);
        const long = "x".repeat(201);
        for (const key of BAD_KEYS.concat(long, `a/${"b/".repeat(300)}c`)) {
          await rejects(bucket.put(key, []), "base/invariant");
          await rejects(bucket.createUpload(key), "base/invariant");
          await rejects(bucket.get(key), "base/invariant");
          await rejects(collect(bucket, key), "base/invariant");
          await rejects(bucket.head(key), "base/invariant");
          await rejects(bucket.delete(["p/00/x", key]), "base/invariant");
        }
        for (const range of [
          { start: -1, end: 1 },
          { start: 2, end: 1 },
          { start: 0.5, end: 1 },
          { start: 0, end: Infinity },
        ])
          await rejects(bucket.get("p/00/x", range), "base/invariant");
        for (const prefix of ["/", "../", "p//", "P", ".incoming/"])
          await rejects(keysOf(bucket, prefix), "base/invariant");
        assert.deepEqual(await keysOf(bucket, ""), ["p/00/x"]);
      }),
    );
  });
}

const BAD_KEYS = [
  "",
  "/a",
  "a/",
  "a//b",
  ".",
  "..",
  "../a",
  "a/../b",
  "a/./b",
  ".incoming/a",
  "-a",
  "A",
  "ä",
  "a b",
  "a\\b",
  "a\0b",
  "a\nb",
  "a%2fb",
];

/** Bytes that tell where they lie, so that none is mistaken for another. */
function numbered(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at + 4 <= length; at += 4) bytes.writeUInt32LE((at * 2654435761 + seed) >>> 0, at);
  return bytes;
}

function digest(bytes: Uint8Array): string {
  return `${bytes.length} ${createHash("sha256").update(bytes).digest("hex")}`;
}

async function collect(
  bucket: Bucket,
  key: string,
  range?: Parameters<Bucket["stream"]>[1],
  options?: Parameters<Bucket["stream"]>[2],
): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of bucket.stream(key, range, options)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function keysOf(bucket: Bucket, prefix: string, options?: BucketListOptions): Promise<string[]> {
  const keys: string[] = [];
  for await (const entry of bucket.list(prefix, options)) keys.push(entry.key);
  return keys;
}

async function rejects(promise: Promise<unknown>, code: ErrorCode, naming = ""): Promise<void> {
  await assert.rejects(promise, (error) => {
    assert.ok(isGitwharfError(error, code), `${String(error)} is no ${code}`);
    assert.ok(error.message.includes(naming), `${error.message} does not name ${naming}`);
    return true;
  });
}
