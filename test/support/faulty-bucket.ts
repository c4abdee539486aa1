/**
 * A bucket that fails where a test wants it to. Every call of the store, each piece of an upload among them, is a point
 * at which a process may be stopped: before it reached the store, or after, when only the answer is lost.
 *
 * ```ts
 * // The third call reaches the store, its answer does not come, and nothing of this process ever reaches it again:
 * const bucket = createFaultyBucket(inner, stoppedAt(3, "lost"));
 * ```
 */
import { setTimeout as delay } from "node:timers/promises";
import { GitwharfError } from "../../src/base/errors.js";
import type { Bucket, BucketUpload } from "../../src/storage/object-store/bucket/bucket.js";

export type FaultyOperation =
  | "put"
  | "upload"
  | "append"
  | "finish"
  | "abort"
  | "get"
  | "stream"
  | "head"
  | "delete"
  | "list"
  | "sweep"
  | "presign"
  | "probe";

export interface FaultyCall {
  /** From 1, over all operations. */
  readonly number: number;
  readonly operation: FaultyOperation;
  /** Of a deletion its first, of a list its prefix. */
  readonly key: string;
}

export type Fault =
  /** Nothing has happened, and an error says so. */
  | "before"
  /** It has happened; the error is the same. */
  | "lost"
  /** `get` and `stream` come to half of the bytes, and an error; a deletion to half of the keys. Others: as "lost". */
  | "truncated"
  /** It happens after as many milliseconds, or once the promise has resolved. */
  | { readonly slow: number | Promise<void> }
  /** There is no answer, ever; it is called when it has happened. */
  | { readonly unanswered: () => void };

/** For `slow`: nothing happens, and there is no answer. */
export const NEVER = new Promise<never>(() => undefined);

function neverAnswering({ unanswered }: { readonly unanswered: () => void }): Promise<never> {
  unanswered();
  return NEVER;
}

export interface FaultyBucket extends Bucket {
  /** All that were made, those that failed too. */
  readonly calls: readonly FaultyCall[];
}

/** The call of this number and all after it fail: a process that was stopped there makes no more. */
export function stoppedAt(number: number, fault: "before" | "lost" | "truncated"): DecideFault {
  return (call) => (call.number < number ? undefined : call.number === number ? fault : "before");
}

export type DecideFault = (call: FaultyCall) => Fault | undefined;

export function createFaultyBucket(bucket: Bucket, decide: DecideFault): FaultyBucket {
  const calls: FaultyCall[] = [];

  const begin = async (
    operation: FaultyOperation,
    key: string,
  ): Promise<"lost" | "truncated" | { readonly unanswered: () => void } | undefined> => {
    const call = { number: calls.length + 1, operation, key };
    calls.push(call);
    const fault = decide(call);
    if (fault === undefined || fault === "lost" || fault === "truncated") return fault;
    if (typeof fault === "object" && "unanswered" in fault) return fault;
    if (fault === "before") throw failure(operation, key);
    await (typeof fault.slow === "number" ? delay(fault.slow) : fault.slow);
    return undefined;
  };

  const failing = async <T>(operation: FaultyOperation, key: string, body: () => Promise<T>): Promise<T> => {
    const fault = await begin(operation, key);
    const answer = await body();
    if (typeof fault === "object") return neverAnswering(fault);
    if (fault !== undefined) throw failure(operation, key);
    return answer;
  };

  const wrapUpload = (key: string, upload: BucketUpload): BucketUpload => ({
    append: (bytes) => failing("append", key, () => upload.append(bytes)),
    async finish() {
      // Nothing is left to abort after `finish`, whichever way it ended.
      try {
        return await failing("finish", key, () => upload.finish());
      } catch (error) {
        await upload.abort();
        throw error;
      }
    },
    // Never throws: at most it does nothing.
    abort: () => failing("abort", key, () => upload.abort()).catch(() => undefined),
  });

  const presign = bucket.presign?.bind(bucket);
  return {
    name: bucket.name,
    calls,
    put: (key, body, options) => failing("put", key, () => bucket.put(key, body, options)),
    createUpload: (key, options) =>
      failing("upload", key, async () => wrapUpload(key, await bucket.createUpload(key, options))),
    get: (key, range, options) => failing("get", key, () => bucket.get(key, range, options)),
    async *stream(key, range, options) {
      const fault = await begin("stream", key);
      if (typeof fault === "object") await neverAnswering(fault);
      for await (const chunk of bucket.stream(key, range, options)) {
        if (fault === undefined) {
          yield chunk;
          continue;
        }
        yield chunk.subarray(0, chunk.length >> 1);
        break;
      }
      if (fault !== undefined) throw failure("stream", key);
    },
    head: (key, options) => failing("head", key, () => bucket.head(key, options)),
    async delete(keys, options) {
      const [first = ""] = keys;
      const fault = await begin("delete", first);
      const half = Math.ceil(keys.length / 2);
      await bucket.delete(fault === "truncated" ? keys.slice(0, half) : keys, options);
      if (typeof fault === "object") await neverAnswering(fault);
      if (fault !== undefined) throw failure("delete", first);
    },
    async *list(prefix, options) {
      const fault = await begin("list", prefix);
      if (typeof fault === "object") await neverAnswering(fault);
      for await (const entry of bucket.list(prefix, options)) {
        yield entry;
        if (fault !== undefined) throw failure("list", prefix);
      }
      if (fault !== undefined) throw failure("list", prefix);
    },
    sweep: (options) => failing("sweep", "", () => bucket.sweep(options)),
    ...(presign === undefined
      ? {}
      : { presign: (key, options) => failing("presign", key, () => presign(key, options)) }),
    probe: (options) => failing("probe", "", () => bucket.probe(options)),
    close: () => bucket.close(),
  };
}

function failure(operation: FaultyOperation, key: string): GitwharfError {
  return new GitwharfError("storage/io", `${operation} ${key}: the bucket fails, as the test wants it to`);
}
