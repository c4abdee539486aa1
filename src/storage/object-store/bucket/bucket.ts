/**
 * The contract of a bucket: bytes under keys that are written once. In it lie packs, side files, chunk containers, nodes;
 * which of them count is said by the root of a repository, never by the bucket.
 *
 * Nothing here is conditional, nothing changes two keys together, and an ETag means nothing: what S3 and its
 * relatives all do is enough. Whoever writes a key has drawn it at random (or from the SHA-256 of the bytes), so
 * nobody else writes other bytes under it. Every implementation passes `bucket-suite.ts`.
 *
 * Errors are storage/not-found (no such key) and storage/io (all else, worth trying again later: each implementation
 * has tried again as often as makes sense), base/aborted once a caller's signal has fired, and base/invariant for
 * keys and ranges that no caller may come up with.
 */
export interface Bucket {
  /** For messages: `s3://bucket/prefix`, a directory, `memory`. */
  readonly name: string;

  /**
   * A whole object in one request, durable and visible when this resolves. When it rejects, the object may be there all
   * the same: the answer may have been lost. Writing the same bytes again is no error.
   * @param body its pieces in order; not to be changed before this has ended
   */
  put(key: string, body: readonly Uint8Array[], options?: BucketRequestOptions): Promise<void>;

  /** A large object that is sent while it comes to be, in bounded memory. Nobody sees it before `finish`. */
  createUpload(key: string, options?: BucketRequestOptions): Promise<BucketUpload>;

  /** All bytes, or those of the range that the object has: fewer than asked for only at its end. */
  get(key: string, range?: BucketRange, options?: BucketRequestOptions): Promise<Buffer>;

  /** The same, piece by piece. Leaving the loop early ends the request. */
  stream(key: string, range?: BucketRange, options?: BucketRequestOptions): AsyncIterable<Buffer>;

  /** undefined: no such key. */
  head(key: string, options?: BucketRequestOptions): Promise<BucketObjectSize | undefined>;

  /** Keys that are not there are no error. When it rejects, some may be gone. */
  delete(keys: readonly string[], options?: BucketRequestOptions): Promise<void>;

  /**
   * Keys that begin so, in the order of their bytes. For maintenance alone, never while somebody waits for an answer.
   * What is written or deleted meanwhile may be listed or not.
   */
  list(prefix: string, options?: BucketListOptions): AsyncIterable<BucketListEntry>;

  /**
   * Removes what uploads that nobody has ended have left, those that began longer ago than that. For maintenance alone;
   * the age is by the store's clock, and has to be longer than any upload takes.
   */
  sweep(options: BucketSweepOptions): Promise<void>;

  /** A URL from which anybody may GET the object for a while, where the bucket can make such. */
  presign?(key: string, options: { readonly expiresSeconds: number }): Promise<string>;

  /** Where objects are files of this machine: one of them, open for reading. The caller closes the descriptor. */
  openFile?(key: string): Promise<BucketFile>;

  /** @throws storage/io when the bucket does not answer, or not to us */
  probe(options?: BucketRequestOptions): Promise<void>;

  /** Uploads that are under way are the callers' to end before. */
  close(): Promise<void>;
}

/** From `append` on in one go: each call is awaited before the next. Ended by `finish` or `abort`, always. */
export interface BucketUpload {
  /** Resolves when more may be given: not before the store has kept up. The bytes may be changed afterwards. */
  append(bytes: Uint8Array): Promise<void>;
  /** Durable and visible when this resolves. When it rejects, nothing is left to abort, but the object may be there. */
  finish(): Promise<BucketObjectSize>;
  /** Takes back what was sent. Nothing to do after `finish`; never throws: what stays is for `sweep`. */
  abort(): Promise<void>;
}

/** Bytes from `start` up to, not including, `end`. */
export interface BucketRange {
  readonly start: number;
  readonly end: number;
}

export interface BucketObjectSize {
  readonly sizeBytes: number;
}

export interface BucketFile extends BucketObjectSize {
  readonly fd: number;
}

export interface BucketListEntry extends BucketObjectSize {
  readonly key: string;
  /** By the clock of the store: an age to sweep by, not an order. */
  readonly modifiedMs: number;
}

export interface BucketRequestOptions {
  /** Ends the request: base/aborted. */
  readonly signal?: AbortSignal | undefined;
}

export interface BucketSweepOptions extends BucketRequestOptions {
  readonly olderThanMs: number;
}

export interface BucketListOptions extends BucketRequestOptions {
  /** Only keys behind this one. */
  readonly after?: string | undefined;
}
