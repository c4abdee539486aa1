/** A bucket in the memory of this process, for tests. Other bytes under a key that is taken are noticed here. */
import { invariant, throwIfAborted } from "../../../base/errors.js";
import type { Bucket, BucketRange } from "./bucket.js";
import { noSuchKey, uploadIsOver } from "./bucket-errors.js";
import { checkKey, checkKeyPrefix, checkRange } from "./bucket-key.js";

const NAME = "memory";
const STREAMED_AT_ONCE = 64 * 1024;

interface StoredObject {
  readonly bytes: Buffer;
  readonly modifiedMs: number;
}

export function createMemoryBucket(): Bucket {
  const objects = new Map<string, StoredObject>();

  const write = (key: string, bytes: Buffer): void => {
    const before = objects.get(key);
    invariant(before === undefined || before.bytes.equals(bytes), `${key} was written twice, differently`);
    if (before === undefined) objects.set(key, { bytes, modifiedMs: Date.now() });
  };
  const read = (key: string, range: BucketRange | undefined): Buffer => {
    checkKey(key);
    checkRange(range);
    const found = objects.get(key);
    if (found === undefined) throw noSuchKey(NAME, key);
    return found.bytes.subarray(range?.start, range?.end);
  };

  return {
    name: NAME,

    async put(key, body, { signal } = {}) {
      checkKey(key);
      throwIfAborted(signal);
      write(key, Buffer.concat(body));
    },

    async createUpload(key, { signal } = {}) {
      checkKey(key);
      throwIfAborted(signal);
      let pieces: Buffer[] | undefined = [];
      return {
        async append(bytes) {
          throwIfAborted(signal);
          if (pieces === undefined) throw uploadIsOver(NAME, key);
          pieces.push(Buffer.from(bytes));
        },
        async finish() {
          throwIfAborted(signal);
          if (pieces === undefined) throw uploadIsOver(NAME, key);
          const bytes = Buffer.concat(pieces);
          pieces = undefined;
          write(key, bytes);
          return { sizeBytes: bytes.length };
        },
        async abort() {
          pieces = undefined;
        },
      };
    },

    async get(key, range, { signal } = {}) {
      throwIfAborted(signal);
      // Whoever gets it may do with it what he likes.
      return Buffer.from(read(key, range));
    },

    async *stream(key, range, { signal } = {}) {
      const bytes = read(key, range);
      for (let at = 0; at < bytes.length; at += STREAMED_AT_ONCE) {
        throwIfAborted(signal);
        yield Buffer.from(bytes.subarray(at, at + STREAMED_AT_ONCE));
      }
    },

    async head(key, { signal } = {}) {
      checkKey(key);
      throwIfAborted(signal);
      const found = objects.get(key);
      return found === undefined ? undefined : { sizeBytes: found.bytes.length };
    },

    async delete(keys, { signal } = {}) {
      keys.forEach(checkKey);
      throwIfAborted(signal);
      for (const key of keys) objects.delete(key);
    },

    async *list(prefix, { signal, after = "" } = {}) {
      checkKeyPrefix(prefix);
      const keys = [...objects.keys()].filter((key) => key.startsWith(prefix) && key > after);
      for (const key of keys.toSorted()) {
        throwIfAborted(signal);
        const found = objects.get(key);
        if (found !== undefined) yield { key, sizeBytes: found.bytes.length, modifiedMs: found.modifiedMs };
      }
    },

    async sweep({ signal }) {
      throwIfAborted(signal);
    },

    async probe({ signal } = {}) {
      throwIfAborted(signal);
    },

    async close() {
      // What is in it goes with the object.
    },
  };
}
