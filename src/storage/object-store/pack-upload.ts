/**
 * Taking finished packs from the spool to the bucket. A small one goes with its index as one object, a larger one is an
 * object, its index beside it another:
 *
 *     l/xx/UUID.l0      pack, then index, then reverse index
 *     p/xx/UUID.pack    pack
 *     p/xx/UUID.side    index, then reverse index
 *
 * xx is the beginning of the UUID, so that stores that divide their keys by how they begin share the load. Keys are drawn
 * and written down (`MetadataStore.beginUpload`) before the first byte is sent.
 */
import { createHash, randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { isPromise } from "../../base/maybe-promise.js";
import type { Pack } from "../../pack/pack.js";
import type { Bucket } from "./bucket/bucket.js";
import type { PackPart, PackSource } from "./tree/pack-leaves.js";
import type { StoredPack } from "./stored-pack.js";

/** Pack and index together: more than that is two objects. */
export const ONE_OBJECT_BYTES_MAX = 4 * 1024 * 1024;
/** The index of a large pack: more than that goes in parts. */
const ONE_PUT_BYTES_MAX = 8 * 1024 * 1024;
const READ_BYTES = 1024 * 1024;

export interface SpooledPack {
  readonly pack: Pack;
  /** `.rev` file, if there is one. */
  readonly reverseIndexPath: string | undefined;
}

/** Where a pack will be. Nothing has been written. */
export interface PlannedUpload {
  readonly spooled: SpooledPack;
  readonly reverseIndex: Buffer | undefined;
  readonly key: string;
  readonly sideKey: string | undefined;
}

/** @throws storage/io */
export async function planUpload(spooled: SpooledPack): Promise<PlannedUpload> {
  const { pack, reverseIndexPath } = spooled;
  const id = randomUUID();
  const reverseIndex = reverseIndexPath === undefined ? undefined : await readFile(reverseIndexPath);
  const sideBytes = pack.index.bytes.byteLength + (reverseIndex?.length ?? 0);
  const isSmall = pack.bytes.sizeBytes + sideBytes <= ONE_OBJECT_BYTES_MAX;
  const place = `${id.slice(0, 2)}/${id}`;
  return isSmall
    ? { spooled, reverseIndex, key: `l/${place}.l0`, sideKey: undefined }
    : { spooled, reverseIndex, key: `p/${place}.pack`, sideKey: `p/${place}.side` };
}

export function keysOf({ key, sideKey }: PlannedUpload): readonly string[] {
  return sideKey === undefined ? [key] : [key, sideKey];
}

export interface UploadPackOptions {
  readonly bucket: Bucket;
  readonly source: PackSource;
  readonly level: number;
  readonly signal?: AbortSignal | undefined;
  /** Is given the pieces of an object that was put whole: for the cache. */
  readonly onWhole?: (key: string, parts: readonly Uint8Array[]) => Promise<void>;
}

/** Durable when it resolves. @throws storage/io, base/aborted */
export async function uploadPack(planned: PlannedUpload, options: UploadPackOptions): Promise<StoredPack> {
  const { key, sideKey, reverseIndex } = planned;
  const { pack } = planned.spooled;
  const { source } = options;
  const index = Buffer.from(pack.index.bytes);
  const side = reverseIndex === undefined ? [index] : [index, reverseIndex];
  const sideBytes = side.reduce((sum, part) => sum + part.length, 0);
  const packBytes = pack.bytes.sizeBytes;
  const hash = createHash("sha256");
  if (sideKey === undefined) {
    const pieces = [await readRange(pack, 0, packBytes), ...side];
    for (const piece of pieces) hash.update(piece);
    await putWhole(key, pieces, options);
  } else {
    await Promise.all([
      putWhole(sideKey, side, options),
      sendPack(pack, key, options, (bytes) => hash.update(bytes)),
    ]);
  }
  const partsAt = sideKey === undefined ? packBytes : 0;
  const parts: PackPart[] = [{ name: "index", offset: partsAt, sizeBytes: index.length }];
  if (reverseIndex !== undefined)
    parts.push({ name: "reverse-index", offset: partsAt + index.length, sizeBytes: reverseIndex.length });
  return {
    leaf: {
      kind: sideKey === undefined ? "joined" : "separate",
      source,
      level: options.level,
      key,
      sha256: hash.digest("hex"),
      ...(sideKey === undefined ? {} : { sideKey, sideSha256: sha256Of(side) }),
      objectCount: pack.objectCount,
      packBytes,
      trailer: pack.index.packTrailer,
      parts,
    },
    // A key is drawn at random and never given twice: it is the pack's id as well.
    row: {
      id: key,
      key,
      ...(sideKey === undefined ? {} : { sideKey }),
      kind: source,
      sizeBytes: packBytes + sideBytes,
    },
  };
}

function sha256Of(parts: readonly Uint8Array[]): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest("hex");
}

async function putWhole(
  key: string,
  parts: readonly Uint8Array[],
  { bucket, signal, onWhole }: UploadPackOptions,
): Promise<void> {
  const sizeBytes = parts.reduce((sum, part) => sum + part.length, 0);
  if (sizeBytes <= ONE_PUT_BYTES_MAX) await bucket.put(key, parts, { signal });
  else {
    const upload = await bucket.createUpload(key, { signal });
    try {
      for (const part of parts)
        for (let at = 0; at < part.length; at += READ_BYTES)
          await upload.append(part.subarray(at, at + READ_BYTES));
      await upload.finish();
    } catch (error) {
      await upload.abort();
      throw error;
    }
  }
  await onWhole?.(key, parts);
}

async function sendPack(
  pack: Pack,
  key: string,
  { bucket, signal }: UploadPackOptions,
  onBytes: (bytes: Buffer) => void,
): Promise<void> {
  const upload = await bucket.createUpload(key, { signal });
  try {
    const { sizeBytes } = pack.bytes;
    for (let offset = 0; offset < sizeBytes; offset += READ_BYTES) {
      const bytes = await readRange(pack, offset, Math.min(READ_BYTES, sizeBytes - offset));
      onBytes(bytes);
      await upload.append(bytes);
    }
    await upload.finish();
  } catch (error) {
    await upload.abort();
    throw error;
  }
}

async function readRange(pack: Pack, offset: number, length: number): Promise<Buffer> {
  const bytes = pack.bytes.read(offset, length);
  return isPromise(bytes) ? await bytes : bytes;
}
