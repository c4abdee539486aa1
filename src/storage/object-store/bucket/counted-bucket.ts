/**
 * Counts what is asked of a bucket, for metrics and for tests that hold a clone or a push to its budget.
 *
 * One call counts once. That is also one request to S3, but for uploads of several parts, deletions of more than 1,000
 * keys, lists of more than 1,000 entries, and what is tried again: `S3BucketOptions.onRequest` tells of each of those.
 */
import type { Bucket, BucketListOptions, BucketRange, BucketRequestOptions, BucketUpload } from "./bucket.js";

const OPERATIONS = [
  "put",
  "upload",
  "get",
  "stream",
  "openFile",
  "head",
  "delete",
  "list",
  "sweep",
  "presign",
  "probe",
] as const;

/** `upload` counts when it is begun; its bytes when they are appended. */
export type BucketOperation = (typeof OPERATIONS)[number];

export interface OperationCount {
  readonly calls: number;
  /** Of the calls, those that threw: a key that is not there is one for `get`. */
  readonly failures: number;
  readonly bytesWritten: number;
  readonly bytesRead: number;
}

export type BucketCounts = Readonly<Record<BucketOperation, OperationCount>>;

export interface CountedBucket extends Bucket {
  /** Since the beginning, or since `reset`. */
  counts(): BucketCounts;
  reset(): void;
}

export interface CountedBucketOptions {
  /** After each call has ended; must not throw. Seconds are those until the answer was read, or left. */
  readonly onCall?: (call: {
    readonly operation: BucketOperation;
    readonly seconds: number;
    readonly failed: boolean;
  }) => void;
}

type Tally = { -readonly [Field in keyof OperationCount]: OperationCount[Field] };

export function createCountedBucket(bucket: Bucket, { onCall }: CountedBucketOptions = {}): CountedBucket {
  let tallies = noCounts();

  const begin = (operation: BucketOperation): { tally: Tally; end: (failed: boolean) => void } => {
    const tally = tallies[operation];
    tally.calls++;
    const startedMs = performance.now();
    return {
      tally,
      end: (failed) => {
        if (failed) tally.failures++;
        onCall?.({ operation, seconds: (performance.now() - startedMs) / 1000, failed });
      },
    };
  };

  async function counting<T>(operation: BucketOperation, body: (tally: Tally) => Promise<T>): Promise<T> {
    const { tally, end } = begin(operation);
    let failed = true;
    try {
      const answer = await body(tally);
      failed = false;
      return answer;
    } finally {
      end(failed);
    }
  }

  async function* countingEach<T>(
    operation: "stream" | "list",
    items: AsyncIterable<T>,
    sizeOf: (item: T) => number,
  ): AsyncGenerator<T> {
    const { tally, end } = begin(operation);
    let failed = false;
    try {
      for await (const item of items) {
        tally.bytesRead += sizeOf(item);
        yield item;
      }
    } catch (error) {
      failed = true;
      throw error;
    } finally {
      end(failed);
    }
  }

  async function createUpload(key: string, options?: BucketRequestOptions): Promise<BucketUpload> {
    const { tally, end } = begin("upload");
    let upload: BucketUpload;
    try {
      upload = await bucket.createUpload(key, options);
    } catch (error) {
      end(true);
      throw error;
    }
    let isOver = false;
    const over = (failed: boolean): void => {
      if (!isOver) end(failed);
      isOver = true;
    };
    const failing = async <A>(promise: Promise<A>): Promise<A> => {
      try {
        return await promise;
      } catch (error) {
        over(true);
        throw error;
      }
    };
    return {
      async append(bytes) {
        await failing(upload.append(bytes));
        tally.bytesWritten += bytes.length;
      },
      async finish() {
        const finished = await failing(upload.finish());
        over(false);
        return finished;
      },
      async abort() {
        await upload.abort();
        over(true);
      },
    };
  }

  const presign = bucket.presign?.bind(bucket);
  const openFile = bucket.openFile?.bind(bucket);
  return {
    name: bucket.name,
    put: (key, body, options) =>
      counting("put", async (tally) => {
        await bucket.put(key, body, options);
        for (const piece of body) tally.bytesWritten += piece.length;
      }),
    createUpload,
    get: (key: string, range?: BucketRange, options?: BucketRequestOptions) =>
      counting("get", async (tally) => {
        const bytes = await bucket.get(key, range, options);
        tally.bytesRead += bytes.length;
        return bytes;
      }),
    stream: (key: string, range?: BucketRange, options?: BucketRequestOptions) =>
      countingEach("stream", bucket.stream(key, range, options), (chunk) => chunk.length),
    head: (key, options) => counting("head", () => bucket.head(key, options)),
    delete: (keys, options) => counting("delete", () => bucket.delete(keys, options)),
    list: (prefix: string, options?: BucketListOptions) =>
      countingEach("list", bucket.list(prefix, options), () => 0),
    sweep: (options) => counting("sweep", () => bucket.sweep(options)),
    ...(openFile === undefined
      ? {}
      : { openFile: (key: string) => counting("openFile", () => openFile(key)) }),
    ...(presign === undefined
      ? {}
      : { presign: (key, options) => counting("presign", () => presign(key, options)) }),
    probe: (options) => counting("probe", () => bucket.probe(options)),
    close: () => bucket.close(),
    counts: () => structuredClone(tallies),
    reset() {
      tallies = noCounts();
    },
  };
}

function noCounts(): Record<BucketOperation, Tally> {
  const none = (): Tally => ({ calls: 0, failures: 0, bytesWritten: 0, bytesRead: 0 });
  return Object.fromEntries(OPERATIONS.map((operation) => [operation, none()])) as Record<
    BucketOperation,
    Tally
  >;
}
