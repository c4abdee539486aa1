/**
 * A multipart upload, sent while it is appended to. What fits into one part is sent by one plain request at the end.
 *
 * Parts begin with 8 MiB and double after every thousand, so that the 10,000 that S3 allows are enough for anything.
 * Each upload has one part's memory of its own; more, to fill one while others are sent, comes from what all share. A
 * part's memory is used again when the part has arrived, and whoever appends waits for that.
 *
 * The answer to Complete may be lost when it has been carried out: then the upload is gone, and the object there. So
 * the object is looked at, its size compared, before Complete is sent again.
 */
import { createHash, type Hash } from "node:crypto";
import type { CompletedPart } from "@aws-sdk/client-s3";
import { abortedError, GitwharfError, throwIfAborted } from "../../../../base/errors.js";
import type { BudgetShare } from "../../../../base/shared-budget.js";
import type { BucketObjectSize, BucketUpload } from "../bucket.js";
import { S3Failure } from "./s3-failure.js";

/** Each call is tried again as often as makes sense before it rejects. */
export interface UploadRequests {
  put(body: Buffer, md5: string): Promise<void>;
  begin(signal: AbortSignal): Promise<string>;
  part(
    upload: string,
    part: { readonly number: number; readonly body: Buffer; readonly md5: string },
    signal: AbortSignal,
  ): Promise<CompletedPart>;
  complete(upload: string, parts: readonly CompletedPart[], sizeBytes: number): Promise<void>;
  cancel(upload: string): Promise<void>;
}

export interface S3UploadOptions {
  readonly requests: UploadRequests;
  readonly partBytes: number;
  readonly partsInParallel: number;
  /** Memory for more parts than one. */
  readonly share: BudgetShare;
  readonly signal: AbortSignal | undefined;
  /** For callers who go on after the end. */
  readonly isOver: () => Error;
  /** The error that the caller gets. */
  readonly told: (error: unknown) => Error;
}

const PARTS_PER_SIZE = 1000;
const PARTS_MAX = 10_000;

export class S3Upload implements BucketUpload {
  readonly #options: S3UploadOptions;
  readonly #ending = new AbortController();
  readonly #onAbort = (): void => void this.abort();
  /** In the order of their numbers. */
  readonly #parts: CompletedPart[] = [];
  readonly #sending = new Set<Promise<void>>();
  /** To be used again. */
  #free: Buffer[] = [];
  #buffers = 0;
  #partBytes: number;
  #buffer: Buffer | undefined;
  #filled = 0;
  #md5: Hash = createHash("md5");
  #sizeBytes = 0;
  #partsSent = 0;
  #upload: Promise<string> | undefined;
  #failure: { readonly error: unknown } | undefined;
  #state: "open" | "finishing" | "over" = "open";
  #ended: Promise<void> | undefined;

  constructor(options: S3UploadOptions) {
    this.#options = options;
    this.#partBytes = options.partBytes;
    options.signal?.addEventListener("abort", this.#onAbort, { once: true });
  }

  async append(bytes: Uint8Array): Promise<void> {
    this.#check();
    try {
      for (let at = 0; at < bytes.length; ) {
        if (this.#buffer !== undefined && this.#filled === this.#buffer.length) this.#sendPart(this.#buffer);
        const buffer = (this.#buffer ??= await this.#nextBuffer());
        const piece = bytes.subarray(at, at + buffer.length - this.#filled);
        buffer.set(piece, this.#filled);
        this.#md5.update(piece);
        this.#filled += piece.length;
        this.#sizeBytes += piece.length;
        at += piece.length;
      }
    } catch (error) {
      throw await this.#failed(error);
    }
  }

  async finish(): Promise<BucketObjectSize> {
    this.#check();
    const { requests } = this.#options;
    this.#state = "finishing";
    try {
      const last = this.#buffer ?? Buffer.alloc(0);
      if (this.#upload === undefined) {
        await requests.put(last.subarray(0, this.#filled), this.#md5.digest("base64"));
      } else {
        this.#sendPart(last);
        while (this.#sending.size > 0) await this.#oneSent();
        this.#throwIfFailed();
        await requests.complete(await this.#upload, this.#parts, this.#sizeBytes);
      }
    } catch (error) {
      throw await this.#failed(error);
    }
    this.#leave();
    return { sizeBytes: this.#sizeBytes };
  }

  async abort(): Promise<void> {
    if (this.#state === "over") return this.#ended;
    this.#state = "over";
    this.#ended = this.#cancel();
    return this.#ended;
  }

  #check(): void {
    throwIfAborted(this.#options.signal);
    if (this.#state !== "open") throw this.#options.isOver();
  }

  async #failed(error: unknown): Promise<Error> {
    const { signal, told } = this.#options;
    await this.abort();
    if (signal?.aborted === true) return abortedError(signal);
    return error instanceof GitwharfError ? error : told(error);
  }

  async #cancel(): Promise<void> {
    this.#ending.abort();
    // A part that arrives after the upload was cancelled would stay.
    await Promise.all(this.#sending);
    const upload = await this.#upload?.catch(() => undefined);
    if (upload !== undefined) await this.#options.requests.cancel(upload).catch(() => undefined);
    this.#leave();
  }

  #leave(): void {
    this.#state = "over";
    this.#options.signal?.removeEventListener("abort", this.#onAbort);
    this.#options.share.release();
    this.#free = [];
    this.#buffer = undefined;
  }

  /** Ours, while it is not sent; resolves when one is free or may be had. */
  async #nextBuffer(): Promise<Buffer> {
    const { partsInParallel, share } = this.#options;
    for (;;) {
      this.#throwIfFailed();
      const free = this.#free.pop();
      if (free !== undefined && free.length === this.#partBytes) return free;
      if (free !== undefined) this.#buffers--;
      else if (this.#buffers === 0 || (this.#buffers < partsInParallel && share.tryTake(this.#partBytes))) {
        this.#buffers++;
        return Buffer.allocUnsafeSlow(this.#partBytes);
      } else await this.#oneSent();
    }
  }

  /** One of those that are being sent has arrived, or failed. */
  async #oneSent(): Promise<void> {
    await Promise.race(this.#sending);
  }

  #sendPart(buffer: Buffer): void {
    const { requests } = this.#options;
    const number = ++this.#partsSent;
    const part = { number, body: buffer.subarray(0, this.#filled), md5: this.#md5.digest("base64") };
    this.#buffer = undefined;
    this.#filled = 0;
    this.#md5 = createHash("md5");
    if (number % PARTS_PER_SIZE === 0) this.#partBytes *= 2;
    this.#upload ??= requests.begin(this.#ending.signal);
    const upload = this.#upload;
    const send = async (): Promise<void> => {
      try {
        if (number > PARTS_MAX) throw new S3Failure("final", "EntityTooLarge", "it has too many parts");
        const id = await upload;
        throwIfAborted(this.#ending.signal);
        this.#parts[number - 1] = await requests.part(id, part, this.#ending.signal);
        this.#free.push(buffer);
      } catch (error) {
        this.#failure ??= { error };
        // The others come to nothing either.
        this.#ending.abort();
      }
    };
    const sent = send().finally(() => this.#sending.delete(sent));
    this.#sending.add(sent);
  }

  #throwIfFailed(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
    if (this.#state === "over") throw this.#options.isOver();
  }
}
