/** A bucket in S3 when the store, or the way to it, fails: what is tried again, how, and what the caller is told. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type S3StandIn, type StandInFault, startS3StandIn } from "../../../../test/support/s3-stand-in.js";
import type { Bucket } from "./bucket.js";
import { openS3Bucket, type S3BucketOptions, type S3Request } from "./s3-bucket.js";

const MiB = 1024 * 1024;
const KEY = "p/00/x";
let store: S3StandIn;
const opened: Bucket[] = [];

beforeEach(async () => {
  store = await startS3StandIn();
});
afterEach(async () => {
  for (const bucket of opened.splice(0)) await bucket.close();
  await store.close();
});

async function open(more: Partial<S3BucketOptions> = {}): Promise<Bucket> {
  const bucket = await openS3Bucket({ ...store.options, ...more });
  opened.push(bucket);
  return bucket;
}

/** The first so many requests of an operation go wrong. */
function failing(operation: string, ...faults: readonly (StandInFault | undefined)[]): void {
  store.decide = (request) => (request.operation === operation ? faults[request.number - 1] : undefined);
}

function numbered(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at + 4 <= length; at += 4) bytes.writeUInt32LE(at, at);
  return bytes;
}

async function collect(chunks: AsyncIterable<Buffer>): Promise<Buffer> {
  const all: Buffer[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return Buffer.concat(all);
}

async function keysOf(bucket: Bucket): Promise<readonly string[]> {
  const keys: string[] = [];
  for await (const { key } of bucket.list("")) keys.push(key);
  return keys;
}

async function failureOf(promise: Promise<unknown>): Promise<Error> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof Error)) throw new Error(`it did not fail, but came to ${String(error)}`);
  return error;
}

const SLOW_DOWN = { status: 503, code: "SlowDown" };
const INTERNAL = { status: 500, code: "InternalError" };

describe("a store that answers with errors", () => {
  it.each<[string, StandInFault]>([
    ["500", INTERNAL],
    ["503", SLOW_DOWN],
    ["429", { status: 429, code: "TooManyRequests" }],
    ["a cut connection", "reset"],
    ["a cut connection, after it did what was asked", "lost"],
  ])("is asked again after %s, whatever was asked", async (_what, fault) => {
    const bucket = await open();
    const operations = ["PutObject", "GetObject", "HeadObject", "ListObjectsV2", "DeleteObject"];
    store.decide = ({ operation, number }) =>
      operations.includes(operation) && number < 3 ? fault : undefined;
    await bucket.put(KEY, [Buffer.from("by"), Buffer.from("tes")]);
    expect((await bucket.get(KEY)).toString()).toBe("bytes");
    expect(await bucket.head(KEY)).toEqual({ sizeBytes: 5 });
    expect(await keysOf(bucket)).toEqual([KEY]);
    await bucket.delete([KEY]);
    expect(store.objects.size).toBe(0);
    expect(store.operations()).toEqual(operations.flatMap((operation) => [operation, operation, operation]));
  });

  it("is asked again when bytes were changed on the way to it", async () => {
    const bucket = await open();
    failing("PutObject", { status: 400, code: "BadDigest" });
    await bucket.put(KEY, [Buffer.from("bytes")]);
    expect(store.operations()).toEqual(["PutObject", "PutObject"]);
  });

  it("is asked again when a list cannot be read", async () => {
    const bucket = await open();
    store.objects.set(KEY, Buffer.from("bytes"));
    failing("ListObjectsV2", { says: "<ListBucketResult><Contents><Key>p/0" });
    expect(await keysOf(bucket)).toEqual([KEY]);
    expect(store.requests).toHaveLength(2);
  });

  it("is given up at last: the error names bucket and key, and no secret", async () => {
    const requests: S3Request[] = [];
    const bucket = await open({ prefix: "/git/", onRequest: (request) => requests.push(request) });
    store.decide = () => SLOW_DOWN;
    const error = await failureOf(bucket.put(KEY, [Buffer.from("bytes")]));
    expect(error).toMatchObject({
      code: "storage/io",
      retryable: true,
      message:
        "writing p/00/x in s3://stand-in/git failed: the store answered 503 SlowDown: as the test wants it (tried 4 times)",
    });
    expect(store.requests.map(({ key }) => key)).toEqual(Array(4).fill("git/p/00/x"));
    expect(requests.map(({ attempt, status, failed }) => [attempt, status, failed])).toEqual(
      [1, 2, 3, 4].map((attempt) => [attempt, 503, true]),
    );
    expect(secretsIn(error)).toEqual([]);
  });

  it("is not asked again for what it will not do", async () => {
    const bucket = await open();
    store.decide = () => ({ status: 403, code: "AccessDenied" });
    const asked = [
      () => bucket.put(KEY, []),
      () => bucket.get(KEY),
      () => bucket.head(KEY),
      () => bucket.probe(),
    ];
    for (const ask of asked) {
      const error = await failureOf(ask());
      expect(error).toMatchObject({ code: "storage/io", message: expect.stringContaining("403") });
      expect(secretsIn(error)).toEqual([]);
    }
    expect(store.requests).toHaveLength(4);
  });

  it("is told apart from a server that is not there", async () => {
    const bucket = await open();
    await store.close();
    const error = await failureOf(bucket.get(KEY));
    expect(error).toMatchObject({
      code: "storage/io",
      message: expect.stringMatching(
        /^reading p\/00\/x in s3:\/\/stand-in failed: .*ECONNREFUSED.* \(tried 4 times\)$/,
      ),
    });
    store = await startS3StandIn();
  });

  it("is not waited for once the caller has gone", async () => {
    const bucket = await open({ backoffMs: 60_000 });
    const caller = new AbortController();
    store.decide = () => {
      caller.abort();
      return SLOW_DOWN;
    };
    await expect(bucket.put(KEY, [], { signal: caller.signal })).rejects.toMatchObject({
      code: "base/aborted",
    });
    expect(store.requests).toHaveLength(1);
  });
});

describe("a store that does not answer", () => {
  it("is asked again after the time for an answer, and the request is ended", async () => {
    const bucket = await open({ requestMs: 400 });
    store.objects.set(KEY, Buffer.from("bytes"));
    failing("GetObject", "silent");
    expect((await bucket.get(KEY)).toString()).toBe("bytes");
    expect(store.requests).toHaveLength(2);
    expect(await store.requests[0]?.left).toBe(true);
  });

  it("is given up", async () => {
    const bucket = await open({ requestMs: 20, attemptsMax: 2 });
    store.decide = () => "silent";
    await expect(bucket.head(KEY)).rejects.toMatchObject({
      code: "storage/io",
      message: "looking for p/00/x in s3://stand-in failed: no answer came within 20 ms (tried 2 times)",
    });
  });

  it("is left when the caller goes", async () => {
    const bucket = await open();
    const caller = new AbortController();
    store.decide = () => {
      setImmediate(() => caller.abort());
      return "silent";
    };
    await expect(bucket.get(KEY, undefined, caller)).rejects.toMatchObject({ code: "base/aborted" });
    expect(await store.requests[0]?.left).toBe(true);
  });
});

describe("an answer that breaks off", () => {
  const bytes = numbered(300_000);

  it.each<[string, (bucket: Bucket) => Promise<Buffer>, number, number]>([
    ["get", (bucket) => bucket.get(KEY), 0, 300_000],
    ["stream", (bucket) => collect(bucket.stream(KEY)), 0, 300_000],
    ["get of a range", (bucket) => bucket.get(KEY, { start: 50_000, end: 290_000 }), 50_000, 290_000],
    [
      "stream of a range",
      (bucket) => collect(bucket.stream(KEY, { start: 50_000, end: 900_000 })),
      50_000,
      300_000,
    ],
  ])("goes on where it stopped: %s", async (_what, read, start, end) => {
    const bucket = await open();
    store.objects.set(KEY, bytes);
    failing("GetObject", { bytes: 100_000 }, { bytes: 30_000 });
    expect((await read(bucket)).equals(bytes.subarray(start, end))).toBe(true);
    const ranges = store.requests.slice(1).map(({ headers }) => headers.range);
    // As much as had arrived; none of it is asked for again.
    expect(ranges).toEqual([`bytes=${start + 100_000}-${end - 1}`, `bytes=${start + 130_000}-${end - 1}`]);
  });

  it("goes on when it stands still", async () => {
    const bucket = await open({ idleMs: 400 });
    store.objects.set(KEY, bytes);
    failing("GetObject", { bytes: 100_000, stalls: true });
    expect((await collect(bucket.stream(KEY))).equals(bytes)).toBe(true);
    expect(store.requests.map(({ headers }) => headers.range)).toEqual([undefined, "bytes=100000-299999"]);
    expect(await store.requests[0]?.left).toBe(true);
  });

  it("is given up when it does not get on", async () => {
    const bucket = await open();
    store.objects.set(KEY, bytes);
    store.decide = () => ({ bytes: 10 });
    await expect(bucket.get(KEY)).rejects.toMatchObject({
      code: "storage/io",
      message: expect.stringMatching(/^reading p\/00\/x in s3:\/\/stand-in failed: .* \(tried 4 times\)$/),
    });
    expect(store.requests).toHaveLength(4);
  });

  it("may break off more often when it gets on", async () => {
    const bucket = await open({ attemptsMax: 2 });
    const large = numbered(6 * MiB);
    store.objects.set(KEY, large);
    store.decide = () => ({ bytes: MiB + 1000 });
    expect((await collect(bucket.stream(KEY))).equals(large)).toBe(true);
    expect(store.requests).toHaveLength(6);
  });

  it("is noticed though the connection ends in good order", async () => {
    const bucket = await open({ attemptsMax: 2 });
    store.objects.set(KEY, bytes);
    failing("GetObject", { says: "only this" });
    // Without a range nobody knows that more was meant; with one, the store says what it sends.
    expect((await bucket.get(KEY)).toString()).toBe("only this");
    await expect(bucket.get(KEY, { start: 5, end: 10 })).resolves.toEqual(bytes.subarray(5, 10));
    store.decide = ({ number }) => (number === 3 ? { says: "only this" } : undefined);
    await expect(bucket.get(KEY, { start: 5, end: 10 })).rejects.toMatchObject({
      code: "storage/io",
      message: expect.stringContaining("the store answered with bytes from 0, not from 5"),
    });
  });

  it("is asked for again when the reader has paused, who keeps no place meanwhile", async () => {
    const bucket = await open({ idleMs: 400, streamsMax: 1 });
    const large = numbered(8 * MiB);
    store.objects.set(KEY, large);
    const slow = bucket.stream(KEY)[Symbol.asyncIterator]();
    const chunks: Buffer[] = [];
    for (let next = await slow.next(); next.done !== true; next = await slow.next()) {
      chunks.push(next.value);
      // There is one place, and the slow one has it.
      if (chunks.length === 3) expect((await collect(bucket.stream(KEY))).length).toBe(large.length);
    }
    expect(Buffer.concat(chunks).equals(large)).toBe(true);
    const read = chunks.slice(0, 3).reduce((sum, { length }) => sum + length, 0);
    expect(store.requests.map(({ headers }) => headers.range)).toEqual([
      undefined,
      undefined,
      `bytes=${read}-${large.length - 1}`,
    ]);
  });
});

describe("one caller's signal", () => {
  it("ends any number of requests, without a warning of too many listeners", async () => {
    const bucket = await open({ requestsMax: 8, hedgeAfterMs: 1, backoffMs: 20 });
    const warnings: Error[] = [];
    const onWarning = (warning: Error): void => void warnings.push(warning);
    process.on("warning", onWarning);
    const caller = new AbortController();
    store.objects.set(KEY, Buffer.from("bytes"));
    failing("GetObject", ...Array<StandInFault>(40).fill(SLOW_DOWN));
    const uploads = await Promise.all(Array.from({ length: 20 }, () => bucket.createUpload(KEY, caller)));
    const reads = Array.from({ length: 60 }, () => bucket.get(KEY, { start: 0, end: 2 }, caller));
    expect(new Set((await Promise.all(reads)).map(String))).toEqual(new Set(["by"]));
    store.decide = () => "silent";
    const never = Promise.allSettled(Array.from({ length: 60 }, () => bucket.get(KEY, undefined, caller)));
    caller.abort();
    expect(new Set((await never).map(({ status }) => status))).toEqual(new Set(["rejected"]));
    for (const upload of uploads) await upload.abort();
    await new Promise((resolve) => setImmediate(resolve));
    process.off("warning", onWarning);
    expect(warnings).toEqual([]);
  });
});

describe("connections", () => {
  it("are kept, and closed by a stream that is left early", async () => {
    const bucket = await open();
    store.objects.set(KEY, numbered(100_000));
    for (let round = 0; round < 10; round++) await bucket.get(KEY, { start: round, end: round + 10 });
    expect(store.connections).toBe(1);
    store.decide = () => ({ bytes: 1000, stalls: true });
    for await (const chunk of bucket.stream(KEY)) {
      expect(chunk.length).toBeGreaterThan(0);
      break;
    }
    expect(await store.requests.at(-1)?.left).toBe(true);
  });

  it("are no more than may be, and streams have their own", async () => {
    const bucket = await open({ requestsMax: 2, streamsMax: 1 });
    store.objects.set(KEY, numbered(32 * MiB));
    const stream = bucket.stream(KEY)[Symbol.asyncIterator]();
    await stream.next();
    const keys = Array.from({ length: 12 }, (_, at) => `m/${at}`);
    let both = (): void => undefined;
    const twoAreThere = new Promise<void>((resolve) => {
      both = resolve;
    });
    store.decide = ({ operation, number }) => {
      if (operation !== "PutObject") return undefined;
      if (number === 2) both();
      return { late: twoAreThere };
    };
    await Promise.all(keys.map((key) => bucket.put(key, [Buffer.from(key)])));
    expect(store.busiest).toBe(3);
    const caller = new AbortController();
    const second = bucket.stream(KEY, undefined, caller)[Symbol.asyncIterator]().next();
    caller.abort();
    await expect(second).rejects.toMatchObject({ code: "base/aborted" });
    await stream.return?.();
    expect((await collect(bucket.stream(KEY))).length).toBe(32 * MiB);
  });
});

describe("small reads that are late", () => {
  it("are asked for twice, and the loser is ended", async () => {
    const bucket = await open({ hedgeAfterMs: 1 });
    store.objects.set(KEY, Buffer.from("some bytes"));
    const read = async (): Promise<string> => (await bucket.get(KEY, { start: 0, end: 4 })).toString();
    for (let round = 0; round < 20; round++) expect(await read()).toBe("some");
    const before = store.requests.length;
    let isFirst = true;
    store.decide = () => {
      if (!isFirst) return undefined;
      isFirst = false;
      return "silent";
    };
    expect(await read()).toBe("some");
    // One more at least: the percentile of so quick a store may be met by either.
    expect(store.requests.length).toBeGreaterThanOrEqual(before + 2);
    expect(await store.requests[before]?.left).toBe(true);
  });

  it("are not when they are not small", async () => {
    const bucket = await open({ hedgeAfterMs: 1 });
    store.objects.set(KEY, numbered(2 * MiB));
    for (let round = 0; round < 20; round++) await bucket.get(KEY, { start: 0, end: 4 });
    const before = store.requests.length;
    store.decide = (request) => (request === store.requests[before] ? { late: pause(50) } : undefined);
    await bucket.get(KEY);
    expect(store.requests).toHaveLength(before + 1);
  });
});

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

describe("an upload", () => {
  const bytes = numbered(21 * MiB);

  async function upload(bucket: Bucket, signal?: AbortSignal): Promise<{ readonly sizeBytes: number }> {
    const sent = await bucket.createUpload(KEY, { signal });
    try {
      for (let at = 0; at < bytes.length; at += MiB) await sent.append(bytes.subarray(at, at + MiB));
      return await sent.finish();
    } finally {
      await sent.abort();
    }
  }

  it("of little is one request", async () => {
    const bucket = await open();
    const sent = await bucket.createUpload(KEY);
    await sent.append(bytes.subarray(0, 8 * MiB));
    expect(await sent.finish()).toEqual({ sizeBytes: 8 * MiB });
    expect(store.operations()).toEqual(["PutObject"]);
  });

  it("sends its parts side by side, and again where they failed", async () => {
    const bucket = await open({ partBytes: 5 * MiB });
    store.decide = ({ operation, number }) => {
      if (operation === "CreateMultipartUpload" && number === 1) return "reset";
      if (operation === "UploadPart" && number < 4) return number === 2 ? "reset" : INTERNAL;
      return undefined;
    };
    expect(await upload(bucket)).toEqual({ sizeBytes: bytes.length });
    expect(store.objects.get(KEY)?.equals(bytes)).toBe(true);
    expect(store.operations().filter((name) => name === "UploadPart")).toHaveLength(5 + 3);
    expect(store.busiest).toBeGreaterThan(1);
    expect(store.busiest).toBeLessThanOrEqual(4);
    expect(store.uploads.size).toBe(0);
  });

  it("makes do with one part's memory when the others have the rest", async () => {
    const bucket = await open({ partBytes: 5 * MiB, uploadBytesMax: 0 });
    expect(await upload(bucket)).toEqual({ sizeBytes: bytes.length });
    expect(store.objects.get(KEY)?.equals(bytes)).toBe(true);
    expect(store.busiest).toBe(1);
    // What it had is given back.
    await upload(bucket);
    await Promise.all([upload(bucket), upload(bucket)]);
    expect(store.objects.get(KEY)?.equals(bytes)).toBe(true);
  });

  it("is cancelled when a part fails for good", async () => {
    const bucket = await open({ partBytes: 5 * MiB });
    store.decide = ({ operation }) => (operation === "UploadPart" ? INTERNAL : undefined);
    await expect(upload(bucket)).rejects.toMatchObject({
      code: "storage/io",
      message: expect.stringMatching(
        /^writing p\/00\/x in s3:\/\/stand-in failed: .*500 InternalError.*tried 4 times/,
      ),
    });
    expect(store.operations().at(-1)).toBe("AbortMultipartUpload");
    expect([store.uploads.size, store.objects.size]).toEqual([0, 0]);
  });

  it("is cancelled when the caller goes, without another word", async () => {
    const bucket = await open({ partBytes: 5 * MiB });
    const caller = new AbortController();
    const sent = await bucket.createUpload(KEY, caller);
    let cancelled = (): void => undefined;
    const isCancelled = new Promise<void>((resolve) => {
      cancelled = resolve;
    });
    store.decide = ({ operation }) => {
      if (operation === "UploadPart") {
        caller.abort();
        return "silent";
      }
      if (operation === "AbortMultipartUpload") cancelled();
      return undefined;
    };
    await sent.append(bytes.subarray(0, 6 * MiB));
    await isCancelled;
    await sent.abort();
    expect([store.uploads.size, store.objects.size]).toEqual([0, 0]);
    await expect(sent.append(bytes)).rejects.toMatchObject({ code: "base/aborted" });
  });

  it.each<[string, StandInFault, readonly string[]]>([
    ["its answer is lost", "lost", ["CompleteMultipartUpload", "HeadObject"]],
    ["nothing came of it", INTERNAL, ["CompleteMultipartUpload", "HeadObject", "CompleteMultipartUpload"]],
    ["it never got there", "reset", ["CompleteMultipartUpload", "HeadObject", "CompleteMultipartUpload"]],
    [
      "the error comes after a good beginning",
      { says: "<Error><Code>InternalError</Code><Message>at last</Message></Error>" },
      ["CompleteMultipartUpload", "HeadObject", "CompleteMultipartUpload"],
    ],
    [
      "no answer comes in time",
      "silent",
      ["CompleteMultipartUpload", "HeadObject", "CompleteMultipartUpload"],
    ],
  ])("looks whether it is complete when %s", async (_what, fault, wanted) => {
    const bucket = await open({ partBytes: 5 * MiB, requestMs: fault === "silent" ? 500 : 15_000 });
    failing("CompleteMultipartUpload", fault);
    expect(await upload(bucket)).toEqual({ sizeBytes: bytes.length });
    expect(store.objects.get(KEY)?.equals(bytes)).toBe(true);
    expect(store.operations().filter((name) => /Complete|Head|Abort/.test(name))).toEqual(wanted);
  });

  it("is complete when the second attempt finds it gone and the object there", async () => {
    const bucket = await open({ partBytes: 5 * MiB });
    store.decide = ({ operation, number }) => {
      if (operation === "CompleteMultipartUpload" && number === 1) return "lost";
      // The first look meets a server that does not know yet.
      if (operation === "HeadObject" && number === 1) return { status: 404, code: "NotFound" };
      return undefined;
    };
    expect(await upload(bucket)).toEqual({ sizeBytes: bytes.length });
    expect(store.operations().slice(-4)).toEqual([
      "CompleteMultipartUpload",
      "HeadObject",
      "CompleteMultipartUpload",
      "HeadObject",
    ]);
  });

  it("has failed when it is gone and no object is there", async () => {
    const bucket = await open({ partBytes: 5 * MiB });
    failing("CompleteMultipartUpload", { status: 404, code: "NoSuchUpload" });
    await expect(upload(bucket)).rejects.toMatchObject({
      code: "storage/io",
      message: expect.stringContaining("NoSuchUpload"),
    });
    expect(store.objects.size).toBe(0);
  });
});

describe("what is sent", () => {
  it("has Content-MD5, and nothing that only AWS knows", async () => {
    const bucket = await open();
    await bucket.put(KEY, [Buffer.from("bytes")]);
    await bucket.delete([KEY, "p/00/y"]);
    expect(store.requests.map(({ headers }) => headers["content-md5"] !== undefined)).toEqual([true, true]);
    for (const { headers } of store.requests) {
      const names = Object.keys(headers).filter((name) => /checksum|trailer|expect|sdk-c/.test(name));
      expect(names).toEqual([]);
      expect(headers["transfer-encoding"]).toBeUndefined();
    }
    expect(store.requests[0]?.headers["content-md5"]).toBe("SzpiGLs+OnMD6KFxpg/Pkg==");
  });

  it("is deleted key by key where the store kept some", async () => {
    const bucket = await open();
    for (const name of ["a", "b", "c"]) store.objects.set(`p/00/${name}`, Buffer.alloc(0));
    const kept = (code: string): StandInFault => ({
      says: `<DeleteResult><Error><Key>p/00/b</Key><Code>${code}</Code><Message>kept</Message></Error></DeleteResult>`,
    });
    failing("DeleteObjects", kept("InternalError"));
    await bucket.delete(["p/00/a", "p/00/b", "p/00/c"]);
    const keysIn = (body: Buffer): readonly (string | undefined)[] =>
      [...body.toString().matchAll(/<Key>([^<]*)</g)].map(([, key]) => key);
    expect(store.requests.map(({ body }) => keysIn(body))).toEqual([
      ["p/00/a", "p/00/b", "p/00/c"],
      ["p/00/b"],
    ]);
    store.decide = () => kept("AccessDenied");
    await expect(bucket.delete(["p/00/a", "p/00/b"])).rejects.toMatchObject({
      code: "storage/io",
      message: expect.stringMatching(/kept 1 of them, p\/00\/b first: AccessDenied/),
    });
  });
});

describe("openS3Bucket", () => {
  it.each<[string, Partial<S3BucketOptions>, string]>([
    ["an endpoint that is none", { endpoint: "s3.example.com" }, "the endpoint of S3 has to be a URL"],
    ["a secret in the endpoint", { endpoint: "https://key:hidden@s3.example.com" }, "the endpoint of S3"],
    ["a prefix that leads elsewhere", { prefix: "a//b" }, '"a//b" cannot be a prefix'],
    ["no bucket", { bucket: "" }, '"" is no name of an S3 bucket'],
  ])("refuses %s", async (_what, options, message) => {
    const error = await failureOf(openS3Bucket({ ...store.options, ...options }));
    expect(error).toMatchObject({ code: "server/bad-configuration" });
    expect(error.message).toContain(message);
    expect(error.message).not.toContain("hidden");
  });
});

/** Wherever in it: what a log may print of it. */
function secretsIn(error: Error): readonly string[] {
  const texts: string[] = [];
  for (let each: unknown = error; each instanceof Error; each = each.cause)
    texts.push(each.message, each.stack ?? "", JSON.stringify(Object.getOwnPropertyDescriptors(each)));
  return texts.filter((text) => /some-secret-key|some-access-key|Signature|Authorization/i.test(text));
}
