/**
 * A large pack on its way to the bucket while its push is still being checked. Nobody sees it before the push is published:
 * it is sent, but not finished.
 *
 *     begin ──► intent written down ──► pieces sent ──► publish ──► finished
 *                                            └────────► abort   ──► taken back
 */
import { abortedError } from "../../base/errors.js";
import { keepUploads } from "./keep-upload.js";
import { findLargeBlobs } from "./large-blobs.js";
import { keysOf, planUpload, type SpooledPack, uploadPack } from "./pack-upload.js";
import type { StoredPack } from "./stored-pack.js";
import { type UploadPlace, uploadPacks } from "./upload-packs.js";

/** Smaller ones are sent in no time. */
const BYTES_MIN = 8 * 1024 * 1024;
/** At once in this process: each holds memory while its push is checked, which may take long. Others are sent when they are published. */
const EARLY_MAX = 8;
let count = 0;

export interface SentPacks {
  /** Of the intent. */
  readonly id: string;
  readonly packs: readonly StoredPack[];
}

/** @param spooled stays until the upload has ended @returns undefined: it is not worth it, or others are under way */
export function beginEarlyUpload(options: UploadPlace, spooled: SpooledPack): EarlyUpload | undefined {
  return spooled.pack.bytes.sizeBytes < BYTES_MIN || count >= EARLY_MAX
    ? undefined
    : new EarlyUpload(options, spooled);
}

export class EarlyUpload {
  readonly #options: UploadPlace;
  readonly #stop = new AbortController();
  readonly #sent: Promise<SentPacks>;
  #publish = (): void => {};
  #id: string | undefined;

  constructor(options: UploadPlace, spooled: SpooledPack) {
    this.#options = options;
    const published = new Promise<void>((resolve, reject) => {
      this.#publish = resolve;
      this.#stop.signal.addEventListener("abort", () => reject(abortedError(this.#stop.signal)), {
        once: true,
      });
    });
    // It may fail before anything waits for that.
    published.catch(() => undefined);
    count++;
    this.#sent = this.#send(spooled, published).finally(() => count--);
    // It is told when it is published.
    this.#sent.catch(() => undefined);
  }

  /** Durable, and seen under its key. When it rejects, it is taken back. @throws storage/io */
  async finish(): Promise<SentPacks> {
    this.#publish();
    try {
      return await this.#sent;
    } catch (error) {
      await this.#takeBack();
      throw error;
    }
  }

  /** Of what was not published: nothing is left, unless the stores do not answer; then the janitor sees to it. Never rejects. */
  async abort(): Promise<void> {
    this.#stop.abort();
    await this.#sent.catch(() => undefined);
    await this.#takeBack();
  }

  async #send(spooled: SpooledPack, published: Promise<void>): Promise<SentPacks> {
    const { core, bucket, metadata, cache, owner, largeBlobBytesMin } = this.#options;
    const blobs = await findLargeBlobs(spooled.pack, largeBlobBytesMin);
    const { signal } = this.#stop;
    // It takes itself back.
    if (blobs.length > 0)
      return uploadPacks(this.#options, [spooled], { source: "push", level: 0, published, signal });
    const planned = await planUpload(spooled);
    const id = await metadata.beginUpload({
      repositoryId: core.id,
      networkId: core.networkId,
      keys: keysOf(planned),
      owner,
    });
    this.#id = id;
    // Its push may be checked for long.
    const stopKeeping = keepUploads(metadata, [id]);
    try {
      const pack = await uploadPack(planned, {
        bucket,
        source: "push",
        level: 0,
        signal,
        published,
        onWhole: (key, parts) => cache.adopt(key, parts),
        onFile: (key, file) => cache.adoptFile(key, file),
      });
      return { id, packs: [pack] };
    } finally {
      stopKeeping();
    }
  }

  async #takeBack(): Promise<void> {
    const { bucket, metadata } = this.#options;
    if (this.#id === undefined) return;
    try {
      const keys = await metadata.takeUpload(this.#id);
      // A write whose answer did not come may come to be there yet: the row stays, and the janitor looks once more.
      if (keys !== undefined) await bucket.delete(keys);
    } catch {
      // The row says what is left to do.
    }
  }
}
