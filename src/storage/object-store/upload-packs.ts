/** Finished packs to the bucket, under an intent that is written down before the first byte is sent; and back out of it. */
import { GitwharfError } from "../../base/errors.js";
import type { Bucket } from "./bucket/bucket.js";
import type { ObjectCache } from "./cache/object-cache.js";
import { chunkPack } from "./chunk-pack.js";
import { keepUploads } from "./keep-upload.js";
import { findLargeBlobs, type LargeBlob } from "./large-blobs.js";
import type { MetadataStore } from "./metadata/metadata-store.js";
import {
  keysOf,
  type PlannedUpload,
  planUpload,
  type SpooledPack,
  uploadPack,
  type UploadPackOptions,
} from "./pack-upload.js";
import type { StoredCore } from "./stored-core.js";
import type { StoredPack } from "./stored-pack.js";

/** Packs of one upload that are sent at the same time. */
const UPLOADS_AT_ONCE = 4;

export interface UploadPlace {
  readonly core: StoredCore;
  readonly bucket: Bucket;
  readonly metadata: MetadataStore;
  readonly cache: ObjectCache;
  /** Who is asked when an upload lies open. */
  readonly owner: string;
  readonly spoolDirectory: string;
  /** Blobs from this size on are kept as chunks. */
  readonly largeBlobBytesMin: number;
}

export interface UploadedPacks {
  /** Of the intent: the commit needs it. */
  readonly id: string;
  readonly packs: readonly StoredPack[];
}

export type UploadKind = Pick<UploadPackOptions, "source" | "level" | "published" | "signal">;

/** All or none, in the order of the packs, which are of one kind or each of its own: when it rejects, what was sent is taken back. @throws storage/io, base/aborted */
export async function uploadPacks(
  place: UploadPlace,
  packs: readonly SpooledPack[],
  kinds: UploadKind | readonly UploadKind[],
): Promise<UploadedPacks> {
  const found: { readonly spooled: SpooledPack; readonly blobs: readonly LargeBlob[] }[] = [];
  for (const spooled of packs)
    found.push({ spooled, blobs: await findLargeBlobs(spooled.pack, place.largeBlobBytesMin) });
  // One whose chunks are to be found first has no key yet.
  const planned = new Map<SpooledPack, PlannedUpload>();
  for (const { spooled, blobs } of found)
    if (blobs.length === 0) planned.set(spooled, await planUpload(spooled));
  const upload = await Upload.begin(place, [...planned.values()].flatMap(keysOf));
  const stored: StoredPack[] = [];
  const send = async (plan: PlannedUpload, kind: UploadKind): Promise<StoredPack> =>
    uploadPack(plan, {
      bucket: place.bucket,
      ...kind,
      onWhole: (key, parts) => place.cache.adopt(key, parts),
      onFile: (key, file) => place.cache.adoptFile(key, file),
    });
  const stopKeeping = keepUploads(place.metadata, [upload.id]);
  try {
    for (let at = 0; at < found.length; at += UPLOADS_AT_ONCE) {
      const batch = found.slice(at, at + UPLOADS_AT_ONCE);
      const results = await Promise.allSettled(
        batch.map(async ({ spooled }, i) => {
          const plan = planned.get(spooled);
          return plan === undefined ? undefined : send(plan, kindOf(kinds, at + i));
        }),
      );
      for (const result of results) if (result.status === "rejected") throw result.reason;
      for (const [i, { spooled, blobs }] of batch.entries()) {
        const result = results[i];
        const sent = result?.status === "fulfilled" ? result.value : undefined;
        stored.push(
          sent ?? (await sendChunked(place, spooled, blobs, { upload, send, kind: kindOf(kinds, at + i) })),
        );
      }
    }
    return { id: upload.id, packs: stored };
  } catch (error) {
    // A write whose answer did not come may come to be there yet: the row stays, and the janitor looks once more.
    await giveUpUpload(place, upload.id).catch(() => undefined);
    throw error;
  } finally {
    stopKeeping();
  }
}

/** One after the other: each holds memory, and uses all workers. */
async function sendChunked(
  place: UploadPlace,
  spooled: SpooledPack,
  blobs: readonly LargeBlob[],
  how: {
    readonly upload: Upload;
    readonly send: (plan: PlannedUpload, kind: UploadKind) => Promise<StoredPack>;
    readonly kind: UploadKind;
  },
): Promise<StoredPack> {
  const { upload, send, kind } = how;
  const made = await chunkPack(spooled, blobs, {
    ...place,
    ...kind,
    makeRoom: () => place.cache.makeRoom(),
    intend: (keys) => upload.intend(keys),
  });
  try {
    const plan = await planUpload(made?.spooled ?? spooled, made?.chunked);
    await upload.intend(keysOf(plan));
    return await send(plan, kind);
  } finally {
    await made?.dispose();
  }
}

/** Keys are written down before the first byte is sent. */
class Upload {
  readonly id: string;
  readonly #metadata: MetadataStore;
  #keys: readonly string[];

  private constructor(id: string, metadata: MetadataStore, keys: readonly string[]) {
    this.id = id;
    this.#metadata = metadata;
    this.#keys = keys;
  }

  static async begin({ core, metadata, owner }: UploadPlace, keys: readonly string[]): Promise<Upload> {
    const of = { repositoryId: core.id, networkId: core.networkId };
    return new Upload(await metadata.beginUpload({ ...of, keys, owner }), metadata, keys);
  }

  async intend(keys: readonly string[]): Promise<void> {
    this.#keys = [...this.#keys, ...keys];
    if (!(await this.#metadata.setUploadKeys(this.id, this.#keys)))
      throw new GitwharfError("storage/io", "the upload took so long that it was cleared away: push again");
  }
}

function kindOf(kinds: UploadKind | readonly UploadKind[], i: number): UploadKind {
  const kind = "source" in kinds ? kinds : kinds[i];
  if (kind === undefined) throw new GitwharfError("base/invariant", "a pack is uploaded as nothing");
  return kind;
}

/** Of an upload whose writes have all ended, unless it was committed. What cannot be taken back now is the janitor's. @throws storage/io */
export async function takeBackUpload(
  stores: Pick<UploadPlace, "bucket" | "metadata">,
  uploadId: string,
): Promise<void> {
  if (await giveUpUpload(stores, uploadId)) await stores.metadata.endUpload(uploadId);
}

/** @returns false when it was committed, or ended */
async function giveUpUpload(
  { bucket, metadata }: Pick<UploadPlace, "bucket" | "metadata">,
  uploadId: string,
): Promise<boolean> {
  const keys = await metadata.takeUpload(uploadId);
  if (keys !== undefined) await bucket.delete(keys);
  return keys !== undefined;
}
