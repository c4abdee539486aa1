/** Finished packs to the bucket, under an intent that is written down before the first byte is sent; and back out of it. */
import { GitwharfError } from "../../base/errors.js";
import type { Bucket } from "./bucket/bucket.js";
import type { ObjectCache } from "./cache/object-cache.js";
import { keepUploads } from "./keep-upload.js";
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
}

export interface UploadedPacks {
  /** Of the intent: the commit needs it. */
  readonly id: string;
  readonly packs: readonly StoredPack[];
}

export type UploadKind = Pick<UploadPackOptions, "source" | "level">;

/** All or none, in the order of the packs, which are of one kind or each of its own: when it rejects, what was sent is taken back. @throws storage/io, base/aborted */
export async function uploadPacks(
  { core, bucket, metadata, cache, owner }: UploadPlace,
  packs: readonly SpooledPack[],
  kinds: UploadKind | readonly UploadKind[],
): Promise<UploadedPacks> {
  const planned: PlannedUpload[] = [];
  for (const pack of packs) planned.push(await planUpload(pack));
  const id = await metadata.beginUpload({
    repositoryId: core.id,
    networkId: core.networkId,
    keys: planned.flatMap(keysOf),
    owner,
  });
  const stopKeeping = keepUploads(metadata, [id]);
  try {
    const stored: StoredPack[] = [];
    for (let at = 0; at < planned.length; at += UPLOADS_AT_ONCE) {
      const batch = planned.slice(at, at + UPLOADS_AT_ONCE);
      const results = await Promise.allSettled(
        batch.map((each, i) =>
          uploadPack(each, {
            bucket,
            ...kindOf(kinds, at + i),
            onWhole: (key, parts) => cache.adopt(key, parts),
            onFile: (key, file) => cache.adoptFile(key, file),
          }),
        ),
      );
      for (const result of results) {
        if (result.status === "rejected") throw result.reason;
        stored.push(result.value);
      }
    }
    return { id, packs: stored };
  } catch (error) {
    // A write whose answer did not come may come to be there yet: the row stays, and the janitor looks once more.
    await giveUpUpload({ bucket, metadata }, id).catch(() => undefined);
    throw error;
  } finally {
    stopKeeping();
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
