/**
 * A bucket in an S3-compatible store: Ceph's RADOS gateway, MinIO, AWS and others. Keys get a prefix, so that several may
 * share one.
 *
 * Nothing is asked of the store that only some do: no checksums in trailers, no conditions, no meaning of ETags. Requests
 * are bounded in number and time, tried again with growing, random waits, and small reads that take unusually long
 * are asked for twice (`s3/hedge.ts`). What was written, and the library that does it: docs/decisions/s3-client.md
 */
import { createHash } from "node:crypto";
import type { ObjectIdentifier } from "@aws-sdk/client-s3";
import { createSharedBudget, type SharedBudget } from "../../../base/shared-budget.js";
import { GitwharfError, throwIfAborted } from "../../../base/errors.js";
import type {
  Bucket,
  BucketListEntry,
  BucketListOptions,
  BucketObjectSize,
  BucketRange,
  BucketRequestOptions,
  BucketSweepOptions,
  BucketUpload,
} from "./bucket.js";
import { bucketError, noSuchKey, uploadIsOver } from "./bucket-errors.js";
import { checkKey, checkKeyPrefix, checkRange } from "./bucket-key.js";
import { type Patience, withAttempts } from "./s3/attempts.js";
import { createHedging, hedged, type Hedging } from "./s3/hedge.js";
import { expectManyListeners } from "./s3/many-listeners.js";
import { readObject, type ReadObjectOptions } from "./s3/read-object.js";
import { type OpenedS3Client, openS3Client } from "./s3/s3-client.js";
import { failureOf, S3Failure } from "./s3/s3-failure.js";
import { type RequestOptions, type S3Request, S3Requests } from "./s3/s3-requests.js";
import { S3Upload, type UploadRequests } from "./s3/s3-upload.js";

export type { S3Request } from "./s3/s3-requests.js";

export interface S3BucketOptions {
  readonly bucket: string;
  /** Before every key, with `/` in between: `git/production`. @default none */
  readonly prefix?: string;
  /** `https://s3.example.com`. @default that of AWS, or AWS_ENDPOINT_URL_S3 */
  readonly endpoint?: string;
  /** @default AWS_REGION, or what the AWS configuration says; with an endpoint, one that means nothing */
  readonly region?: string;
  /** `endpoint/bucket/key` instead of `bucket.endpoint/key`. @default with an endpoint */
  readonly pathStyle?: boolean;
  /** @default those of the environment: AWS_ACCESS_KEY_ID …, files, web identity, the machine's role */
  readonly credentials?: {
    readonly accessKeyId: string;
    readonly secretAccessKey: string;
    readonly sessionToken?: string;
  };

  /** Requests at once; more wait. @default 64 */
  readonly requestsMax?: number;
  /** Reads of any length at once, besides; more wait. @default 256 */
  readonly streamsMax?: number;
  /** Bytes of a part of an upload, at first. S3 wants 5 MiB. @default 8 MiB */
  readonly partBytes?: number;
  /** Parts of one upload in memory, one of them being filled while the others are sent. @default 4 */
  readonly partsInParallel?: number;
  /** Memory of all uploads together, beyond one part of each. @default 256 MiB */
  readonly uploadBytesMax?: number;
  /** Until the connection stands. @default 3,000 */
  readonly connectMs?: number;
  /** Until an answer begins; what is sent gets more, by its size. @default 15,000 */
  readonly requestMs?: number;
  /** Between two pieces of an answer; and how long a reader may pause before it has to ask anew. @default 15,000 */
  readonly idleMs?: number;
  /** Of each request, the first one among them. @default 6 */
  readonly attemptsMax?: number;
  /** The longest wait before the second attempt; each further one doubles it, up to 5 s. @default 200 */
  readonly backoffMs?: number;
  /** No second request for a small read before that, however fast the store is. Infinity: none at all. @default 20 */
  readonly hedgeAfterMs?: number;
  /** After each request, those tried again too; for metrics. Must not throw. */
  readonly onRequest?: (request: S3Request) => void;
}

const MiB = 1024 * 1024;
const BACKOFF_MAX_MS = 5000;
const PART_BYTES_MIN = 5 * MiB;
/** Larger reads take long for good reasons. */
const HEDGED_BYTES_MAX = MiB;
const DELETED_AT_ONCE = 1000;
const PROBE_ATTEMPTS = 2;
/** Some stores put thousands of parts together before they answer. */
const COMPLETE_TIMES = 8;

/** Asks the store nothing yet. @throws server/bad-configuration */
export async function openS3Bucket(options: S3BucketOptions): Promise<Bucket> {
  const { bucket, prefix = "", endpoint, requestsMax = 64, streamsMax = 256, connectMs = 3000 } = options;
  const keyPrefix = checkedPrefix(prefix);
  checkEndpoint(endpoint);
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{1,254}$/.test(bucket))
    throw new GitwharfError(
      "server/bad-configuration",
      `${JSON.stringify(bucket)} is no name of an S3 bucket`,
    );
  const client = await openS3Client(options, { socketsMax: requestsMax + streamsMax, connectMs });
  return new S3Bucket(client, options, keyPrefix);
}

function checkedPrefix(prefix: string): string {
  const trimmed = prefix.replaceAll(/^\/+|\/+$/g, "");
  if (trimmed === "") return "";
  if (/^[A-Za-z0-9._-]+(?:\/[A-Za-z0-9._-]+)*$/.test(trimmed) && trimmed.length <= 256) return `${trimmed}/`;
  throw new GitwharfError(
    "server/bad-configuration",
    `${JSON.stringify(prefix)} cannot be a prefix of keys in S3: up to 256 letters, digits, ".", "_", "-" and "/"`,
  );
}

function checkEndpoint(endpoint: string | undefined): void {
  if (endpoint === undefined) return;
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  const ok =
    url !== undefined && /^https?:$/.test(url.protocol) && url.username === "" && url.password === "";
  if (ok && url.search === "" && url.hash === "") return;
  throw new GitwharfError(
    "server/bad-configuration",
    "the endpoint of S3 has to be a URL with http or https, without credentials: https://s3.example.com",
  );
}

class S3Bucket implements Bucket {
  readonly name: string;
  readonly #s3: OpenedS3Client;
  readonly #bucket: string;
  readonly #prefix: string;
  readonly #requests: S3Requests;
  readonly #patience: Patience;
  readonly #idleMs: number;
  readonly #hedging: Hedging | undefined;
  readonly #partBytes: number;
  readonly #partsInParallel: number;
  readonly #uploadBytes: SharedBudget;

  constructor(s3: OpenedS3Client, options: S3BucketOptions, prefix: string) {
    const { attemptsMax = 6, backoffMs = 200, hedgeAfterMs = 20, idleMs = 15_000 } = options;
    this.#s3 = s3;
    this.#bucket = options.bucket;
    this.#prefix = prefix;
    this.name = `s3://${options.bucket}${prefix === "" ? "" : `/${prefix.slice(0, -1)}`}`;
    this.#requests = new S3Requests({
      requestsMax: options.requestsMax ?? 64,
      streamsMax: options.streamsMax ?? 256,
      requestMs: options.requestMs ?? 15_000,
      onRequest: options.onRequest,
    });
    this.#patience = { attemptsMax, backoffMs, backoffMaxMs: BACKOFF_MAX_MS };
    this.#idleMs = idleMs;
    this.#hedging = hedgeAfterMs === Infinity ? undefined : createHedging({ minMs: hedgeAfterMs });
    this.#partBytes = Math.max(PART_BYTES_MIN, options.partBytes ?? 8 * MiB);
    this.#partsInParallel = options.partsInParallel ?? 4;
    this.#uploadBytes = createSharedBudget({
      max: options.uploadBytesMax ?? 256 * MiB,
      free: 0,
      what: "large uploads",
    });
  }

  async put(key: string, body: readonly Uint8Array[], { signal }: BucketRequestOptions = {}): Promise<void> {
    checkKey(key);
    expectManyListeners(signal);
    const [only] = body;
    const bytes = body.length === 1 && only !== undefined ? only : Buffer.concat(body);
    await this.#told(`writing ${key}`, () => this.#put(key, bytes, md5Of(bytes), signal));
  }

  async createUpload(key: string, { signal }: BucketRequestOptions = {}): Promise<BucketUpload> {
    checkKey(key);
    expectManyListeners(signal);
    throwIfAborted(signal);
    return new S3Upload({
      requests: this.#uploadRequests(key, signal),
      partBytes: this.#partBytes,
      partsInParallel: this.#partsInParallel,
      share: this.#uploadBytes.open(),
      signal,
      isOver: () => uploadIsOver(this.name, key),
      told: (error) => this.#error(`writing ${key}`, error),
    });
  }

  async get(key: string, range?: BucketRange, { signal }: BucketRequestOptions = {}): Promise<Buffer> {
    checkKey(key);
    checkRange(range);
    expectManyListeners(signal);
    if (range !== undefined && range.start === range.end) return this.#nothing(key, signal);
    return this.#told(
      `reading ${key}`,
      () => {
        const read = (ending: AbortSignal | undefined): Promise<Buffer> =>
          collect((onLength) => this.#read(key, { range, signal: ending, isStream: false, onLength }));
        const isSmall = range !== undefined && range.end - range.start <= HEDGED_BYTES_MAX;
        return isSmall && this.#hedging !== undefined ? hedged(this.#hedging, signal, read) : read(signal);
      },
      key,
    );
  }

  async *stream(
    key: string,
    range?: BucketRange,
    { signal }: BucketRequestOptions = {},
  ): AsyncGenerator<Buffer> {
    checkKey(key);
    checkRange(range);
    expectManyListeners(signal);
    if (range !== undefined && range.start === range.end) {
      await this.#nothing(key, signal);
      return;
    }
    try {
      yield* this.#read(key, { range, signal, isStream: true });
    } catch (error) {
      throw this.#error(`reading ${key}`, error, key);
    }
  }

  async head(key: string, { signal }: BucketRequestOptions = {}): Promise<BucketObjectSize | undefined> {
    checkKey(key);
    expectManyListeners(signal);
    return this.#told(`looking for ${key}`, () => this.#head(key, signal));
  }

  async delete(keys: readonly string[], { signal }: BucketRequestOptions = {}): Promise<void> {
    keys.forEach(checkKey);
    expectManyListeners(signal);
    throwIfAborted(signal);
    const all = [...new Set(keys)];
    for (let at = 0; at < all.length; at += DELETED_AT_ONCE) {
      const some = all.slice(at, at + DELETED_AT_ONCE);
      const [first = ""] = some;
      const what = some.length === 1 ? first : `${some.length} keys from ${first} on`;
      await this.#told(`deleting ${what}`, () => this.#delete(some, signal));
    }
  }

  async *list(prefix: string, { signal, after }: BucketListOptions = {}): AsyncGenerator<BucketListEntry> {
    checkKeyPrefix(prefix);
    expectManyListeners(signal);
    const cut = this.#prefix.length;
    let token: string | undefined;
    do {
      const sent = {
        Bucket: this.#bucket,
        Prefix: `${this.#prefix}${prefix}`,
        ...(token === undefined ? {} : { ContinuationToken: token }),
        ...(after === undefined || after === "" ? {} : { StartAfter: `${this.#prefix}${after}` }),
      };
      const page = await this.#told(`listing ${prefix}`, () =>
        this.#send("ListObjectsV2", { signal }, (abortSignal) =>
          this.#s3.client.send(new this.#s3.library.ListObjectsV2Command(sent), { abortSignal }),
        ),
      );
      for (const { Key, Size, LastModified } of page.Contents ?? []) {
        if (Key === undefined) continue;
        throwIfAborted(signal);
        yield { key: Key.slice(cut), sizeBytes: Size ?? 0, modifiedMs: LastModified?.getTime() ?? 0 };
      }
      const next = page.IsTruncated === true ? page.NextContinuationToken : undefined;
      // A store that would begin anew for ever.
      if (next !== undefined && next === token)
        throw this.#error("listing", new Error("the list does not go on"));
      token = next;
    } while (token !== undefined);
  }

  async sweep({ olderThanMs, signal }: BucketSweepOptions): Promise<void> {
    const { client, library } = this.#s3;
    let marker: { KeyMarker: string; UploadIdMarker: string } | undefined;
    do {
      const sent = { Bucket: this.#bucket, Prefix: this.#prefix, ...marker };
      const page = await this.#told("sweeping", () =>
        this.#send("ListMultipartUploads", { signal }, (abortSignal) =>
          client.send(new library.ListMultipartUploadsCommand(sent), { abortSignal }),
        ),
      );
      for (const { Key, UploadId, Initiated } of page.Uploads ?? []) {
        if (Key?.startsWith(this.#prefix) !== true || UploadId === undefined || Initiated === undefined)
          continue;
        // By the store's clock: the client takes note of how far ours is from it.
        const nowMs = Date.now() + client.config.systemClockOffset;
        if (nowMs - Initiated.getTime() < olderThanMs) continue;
        await this.#told("sweeping", () => this.#cancelUpload(Key, UploadId, signal));
      }
      const { IsTruncated, NextKeyMarker = "", NextUploadIdMarker = "" } = page;
      const next = { KeyMarker: NextKeyMarker, UploadIdMarker: NextUploadIdMarker };
      const goesOn =
        IsTruncated === true &&
        NextKeyMarker !== "" &&
        (next.KeyMarker !== marker?.KeyMarker || next.UploadIdMarker !== marker.UploadIdMarker);
      marker = goesOn ? next : undefined;
    } while (marker !== undefined);
  }

  async presign(key: string, { expiresSeconds }: { readonly expiresSeconds: number }): Promise<string> {
    checkKey(key);
    try {
      return await this.#s3.presign(this.#bucket, this.#key(key), expiresSeconds);
    } catch (error) {
      throw this.#error(`presigning ${key}`, error);
    }
  }

  async probe({ signal }: BucketRequestOptions = {}): Promise<void> {
    const { client, library } = this.#s3;
    await this.#told("asking for the bucket", () =>
      this.#send(
        "HeadBucket",
        { signal },
        (abortSignal) =>
          client.send(new library.HeadBucketCommand({ Bucket: this.#bucket }), { abortSignal }),
        { ...this.#patience, attemptsMax: Math.min(PROBE_ATTEMPTS, this.#patience.attemptsMax) },
      ),
    );
  }

  async close(): Promise<void> {
    this.#s3.client.destroy();
  }

  async #put(key: string, bytes: Uint8Array, md5: string, signal: AbortSignal | undefined): Promise<void> {
    const { client, library } = this.#s3;
    const sent = {
      Bucket: this.#bucket,
      Key: this.#key(key),
      Body: bytes,
      ContentLength: bytes.length,
      ContentMD5: md5,
    };
    await this.#send("PutObject", { signal, bodyBytes: bytes.length }, (abortSignal) =>
      client.send(new library.PutObjectCommand(sent), { abortSignal }),
    );
  }

  #read(
    key: string,
    options: Pick<ReadObjectOptions, "range" | "signal" | "isStream" | "onLength">,
  ): AsyncGenerator<Buffer> {
    const { client, library } = this.#s3;
    const sent = { Bucket: this.#bucket, Key: this.#key(key) };
    return readObject({
      ...options,
      requests: this.#requests,
      patience: this.#patience,
      idleMs: this.#idleMs,
      ask: (range, abortSignal) =>
        client.send(
          new library.GetObjectCommand({ ...sent, ...(range === undefined ? {} : { Range: range }) }),
          {
            abortSignal,
          },
        ),
    });
  }

  /** An empty range cannot be asked for. */
  async #nothing(key: string, signal: AbortSignal | undefined): Promise<Buffer> {
    if ((await this.head(key, { signal })) === undefined) throw noSuchKey(this.name, key);
    return Buffer.alloc(0);
  }

  async #head(key: string, signal: AbortSignal | undefined): Promise<BucketObjectSize | undefined> {
    const { client, library } = this.#s3;
    try {
      const found = await this.#send("HeadObject", { signal }, (abortSignal) =>
        client.send(new library.HeadObjectCommand({ Bucket: this.#bucket, Key: this.#key(key) }), {
          abortSignal,
        }),
      );
      return { sizeBytes: found.ContentLength ?? 0 };
    } catch (error) {
      if (error instanceof S3Failure && error.kind === "absent") return undefined;
      throw error;
    }
  }

  /** Some may have failed when the others have not; those are tried again. */
  async #delete(keys: readonly string[], signal: AbortSignal | undefined): Promise<void> {
    const { client, library } = this.#s3;
    const [only = ""] = keys;
    if (keys.length === 1) {
      const sent = { Bucket: this.#bucket, Key: this.#key(only) };
      await this.#send("DeleteObject", { signal }, (abortSignal) =>
        client.send(new library.DeleteObjectCommand(sent), { abortSignal }),
      ).catch((error: unknown) => {
        if (!(error instanceof S3Failure) || error.kind !== "absent") throw error;
      });
      return;
    }
    let left: ObjectIdentifier[] = keys.map((key) => ({ Key: this.#key(key) }));
    await withAttempts(this.#patience, signal, async (attempt) => {
      const sent = { Bucket: this.#bucket, Delete: { Objects: left, Quiet: true } };
      const { Errors = [] } = await this.#requests.send(
        { operation: "DeleteObjects", attempt, signal },
        (abortSignal) => client.send(new library.DeleteObjectsCommand(sent), { abortSignal }),
      );
      const failed = Errors.filter(({ Code }) => Code !== "NoSuchKey");
      const [first] = failed;
      if (first === undefined) return;
      left = failed.flatMap(({ Key }) => (Key === undefined ? [] : [{ Key }]));
      const { Key = "", Code = "", Message = "" } = first;
      const isFinal = /AccessDenied|InvalidRequest|MethodNotAllowed/.test(Code);
      const why = `the store kept ${failed.length} of them, ${Key.slice(this.#prefix.length)} first: ${Code} ${Message}`;
      throw new S3Failure(isFinal ? "final" : "passing", Code, why.trim().slice(0, 600));
    });
  }

  #uploadRequests(key: string, signal: AbortSignal | undefined): UploadRequests {
    const { client, library } = this.#s3;
    const of = { Bucket: this.#bucket, Key: this.#key(key) };
    return {
      put: (body, md5) => this.#put(key, body, md5, signal),
      begin: async (ending) => {
        const { UploadId } = await this.#send("CreateMultipartUpload", { signal: ending }, (abortSignal) =>
          client.send(new library.CreateMultipartUploadCommand(of), { abortSignal }),
        );
        if (UploadId === undefined)
          throw new S3Failure("final", "NoUploadId", "the store gave the upload no id");
        return UploadId;
      },
      part: async (UploadId, { number, body, md5 }, ending) => {
        const sent = {
          ...of,
          UploadId,
          PartNumber: number,
          Body: body,
          ContentLength: body.length,
          ContentMD5: md5,
        };
        const { ETag } = await this.#send(
          "UploadPart",
          { signal: ending, bodyBytes: body.length },
          (abortSignal) => client.send(new library.UploadPartCommand(sent), { abortSignal }),
        );
        return { PartNumber: number, ...(ETag === undefined ? {} : { ETag }) };
      },
      complete: async (UploadId, parts, sizeBytes) => {
        const sent = { ...of, UploadId, MultipartUpload: { Parts: [...parts] } };
        await withAttempts(this.#patience, signal, async (attempt) => {
          try {
            await this.#requests.send(
              { operation: "CompleteMultipartUpload", attempt, signal, times: COMPLETE_TIMES },
              (abortSignal) => client.send(new library.CompleteMultipartUploadCommand(sent), { abortSignal }),
            );
          } catch (error) {
            // Did it happen all the same? An upload that is gone was completed by the attempt before, or by nobody.
            const isLost = error instanceof S3Failure && (error.kind === "passing" || attempt > 1);
            if (!isLost || (await this.#head(key, signal))?.sizeBytes !== sizeBytes) throw error;
          }
        });
      },
      cancel: (upload) => this.#cancelUpload(of.Key, upload, undefined),
    };
  }

  /** @param key with the prefix */
  async #cancelUpload(key: string, upload: string, signal: AbortSignal | undefined): Promise<void> {
    const { client, library } = this.#s3;
    const sent = { Bucket: this.#bucket, Key: key, UploadId: upload };
    await this.#send("AbortMultipartUpload", { signal }, (abortSignal) =>
      client.send(new library.AbortMultipartUploadCommand(sent), { abortSignal }),
    ).catch((error: unknown) => {
      if (!(error instanceof S3Failure) || error.kind !== "absent") throw error;
    });
  }

  #send<T>(
    operation: string,
    options: Pick<RequestOptions, "signal" | "bodyBytes">,
    ask: (signal: AbortSignal) => Promise<T>,
    patience = this.#patience,
  ): Promise<T> {
    return withAttempts(patience, options.signal, (attempt) =>
      this.#requests.send({ ...options, operation, attempt }, ask),
    );
  }

  #key(key: string): string {
    return `${this.#prefix}${key}`;
  }

  /** @param key whose absence is storage/not-found */
  async #told<T>(doing: string, body: () => Promise<T>, key?: string): Promise<T> {
    try {
      return await body();
    } catch (error) {
      throw this.#error(doing, error, key);
    }
  }

  #error(doing: string, error: unknown, key?: string): Error {
    if (key !== undefined && error instanceof S3Failure && error.kind === "absent")
      return noSuchKey(this.name, key);
    return bucketError(this.name, doing, failureOf(error));
  }
}

function md5Of(bytes: Uint8Array): string {
  return createHash("md5").update(bytes).digest("base64");
}

async function collect(read: (onLength: (bytes: number) => void) => AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let whole: Buffer | undefined;
  let at = 0;
  const onLength = (bytes: number): void => {
    if (bytes !== Infinity) whole = Buffer.allocUnsafeSlow(bytes);
  };
  for await (const chunk of read(onLength)) {
    if (whole === undefined) chunks.push(chunk);
    else at += chunk.copy(whole, at);
  }
  return whole ?? Buffer.concat(chunks);
}
