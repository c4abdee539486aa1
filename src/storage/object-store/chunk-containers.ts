/**
 * New chunks on their way to the bucket: one behind the other in containers, `c/xx/UUID.chunks`, without anything between them.
 * Where each begins and ends is said by recipes. Keys are written down before the first byte is sent; a small container goes in one
 * request, a larger one while it is filled.
 */
import { randomUUID } from "node:crypto";
import { GitwharfError } from "../../base/errors.js";
import type { Bucket, BucketUpload } from "./bucket/bucket.js";
import type { NewPack } from "./metadata/metadata-store.js";

export const CONTAINER_BYTES_MAX: number = 64 * 1024 * 1024;
const ONE_PUT_BYTES_MAX = 8 * 1024 * 1024;

export interface ChunkContainersOptions {
  readonly bucket: Bucket;
  /** Writes down that these keys may come to be there, too. @throws storage/io */
  readonly intend: (keys: readonly string[]) => Promise<void>;
  /** Nothing is to be seen in the bucket before. @default now */
  readonly published?: Promise<void> | undefined;
  readonly signal?: AbortSignal | undefined;
}

interface OpenContainer {
  readonly key: string;
  sizeBytes: number;
  /** Until it is too large for one request. */
  parts: Buffer[];
  upload: BucketUpload | undefined;
}

export class ChunkContainers {
  readonly #options: ChunkContainersOptions;
  readonly #finished: NewPack[] = [];
  #open: OpenContainer | undefined;

  constructor(options: ChunkContainersOptions) {
    this.#options = options;
  }

  /** One after the other. @returns where it will be, once `finish` has resolved */
  async place(stored: Buffer): Promise<{ readonly containerKey: string; readonly offset: number }> {
    if (this.#open !== undefined && this.#open.sizeBytes + stored.length > CONTAINER_BYTES_MAX)
      await this.#finishOpen(this.#open);
    this.#open ??= await this.#begin();
    const open = this.#open;
    const offset = open.sizeBytes;
    open.sizeBytes += stored.length;
    open.parts.push(stored);
    if (open.upload !== undefined || open.sizeBytes > ONE_PUT_BYTES_MAX) {
      open.upload ??= await this.#options.bucket.createUpload(open.key, { signal: this.#options.signal });
      for (const part of open.parts) await open.upload.append(part);
      open.parts = [];
    }
    return { containerKey: open.key, offset };
  }

  /** Those that are durable. */
  get finished(): readonly NewPack[] {
    return this.#finished;
  }

  /** Of all that were begun. */
  get keys(): readonly string[] {
    return [...this.#finished.map(({ key }) => key), ...(this.#open === undefined ? [] : [this.#open.key])];
  }

  /** All are durable. @throws storage/io */
  async finish(): Promise<readonly NewPack[]> {
    if (this.#open !== undefined) await this.#finishOpen(this.#open);
    return this.#finished;
  }

  /** Of what was not finished. Never throws. */
  async abort(): Promise<void> {
    const open = this.#open;
    this.#open = undefined;
    await open?.upload?.abort();
  }

  async #begin(): Promise<OpenContainer> {
    const id = randomUUID();
    const key = `c/${id.slice(0, 2)}/${id}.chunks`;
    await this.#options.intend([key]);
    return { key, sizeBytes: 0, parts: [], upload: undefined };
  }

  async #finishOpen({ key, sizeBytes, parts, upload }: OpenContainer): Promise<void> {
    const { bucket, published, signal } = this.#options;
    await published;
    this.#open = undefined;
    if (upload === undefined) await bucket.put(key, parts, { signal });
    else {
      const finished = await upload.finish();
      if (finished.sizeBytes !== sizeBytes)
        throw new GitwharfError(
          "storage/io",
          `'${key}' has ${finished.sizeBytes} bytes instead of ${sizeBytes}`,
        );
    }
    this.#finished.push({ id: key, key, kind: "chunks", sizeBytes });
  }
}
