/**
 * Taking finished packs from the spool to the bucket. A small one goes with its index as one object, a larger one is an
 * object, its index beside it another:
 *
 *     l/xx/UUID.l0      pack, then index, and what else belongs to it: reverse index, bitmap, commit-graph
 *     p/xx/UUID.pack    pack
 *     p/xx/UUID.side    index, and what else belongs to it
 *
 * What is kept of the pack as chunks is left out (chunk-pack.ts).
 *
 * xx is the beginning of the UUID, so that stores that divide their keys by how they begin share the load. Keys are drawn
 * and written down (`MetadataStore.beginUpload`) before the first byte is sent.
 */
import { createHash, type Hash, randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { isPromise } from "../../base/maybe-promise.js";
import { othersTurn } from "../../base/others-turn.js";
import type { Pack } from "../../pack/pack.js";
import type { Bucket } from "./bucket/bucket.js";
import type { PackPart, PackPartName, PackSource } from "./tree/pack-leaves.js";
import type { ObjectSource } from "./cache/partial-object.js";
import { SplicedPack, splicedPackKey } from "./spliced-pack.js";
import type { ChunkedPack, StoredPack } from "./stored-pack.js";

/** Pack and index together: more than that is two objects. */
export const ONE_OBJECT_BYTES_MAX = 4 * 1024 * 1024;
/** The index of a large pack: more than that goes in parts. */
const ONE_PUT_BYTES_MAX = 8 * 1024 * 1024;
const READ_BYTES = 1024 * 1024;

export interface SpooledPack {
  readonly pack: Pack;
  /** Of the file that has its bytes. */
  readonly path: string;
  /** `.rev` file, if there is one. */
  readonly reverseIndexPath: string | undefined;
  /** What was made for it besides. */
  readonly madeParts?: readonly MadePart[] | undefined;
}

export interface MadePart {
  readonly name: PackPartName;
  readonly bytes: Uint8Array;
}

/** Where a pack will be. Nothing has been written. */
export interface PlannedUpload {
  readonly spooled: SpooledPack;
  /** The index first. */
  readonly parts: readonly MadePart[];
  /** What goes without some of its bytes. */
  readonly chunked: ChunkedPack | undefined;
  readonly key: string;
  readonly sideKey: string | undefined;
}

/** @throws storage/io */
export async function planUpload(spooled: SpooledPack, chunked?: ChunkedPack): Promise<PlannedUpload> {
  const { pack, reverseIndexPath, madeParts = [] } = spooled;
  const id = randomUUID();
  const parts: MadePart[] = [{ name: "index", bytes: Buffer.from(pack.index.bytes) }];
  if (reverseIndexPath !== undefined)
    parts.push({ name: "reverse-index", bytes: await readFile(reverseIndexPath) });
  parts.push(...madeParts);
  const isSmall = ownBytesOf(pack, chunked) + bytesOf(parts) <= ONE_OBJECT_BYTES_MAX;
  const place = `${id.slice(0, 2)}/${id}`;
  return isSmall
    ? { spooled, parts, chunked, key: `l/${place}.l0`, sideKey: undefined }
    : { spooled, parts, chunked, key: `p/${place}.pack`, sideKey: `p/${place}.side` };
}

function bytesOf(parts: readonly MadePart[]): number {
  return parts.reduce((sum, { bytes }) => sum + bytes.length, 0);
}

export function keysOf({ key, sideKey }: PlannedUpload): readonly string[] {
  return sideKey === undefined ? [key] : [key, sideKey];
}

export interface UploadPackOptions {
  readonly bucket: Bucket;
  readonly source: PackSource;
  readonly level: number;
  readonly signal?: AbortSignal | undefined;
  /** Nothing is to be seen in the bucket before. @default now */
  readonly published?: Promise<void> | undefined;
  /** Is given the pieces of an object that was put whole: for the cache. */
  readonly onWhole?: (key: string, parts: readonly Uint8Array[]) => Promise<void>;
  /**
   * Is given the file of a pack that was sent by itself, or without its chunks: for the cache, which must open it at once.
   * @param file.source where its bytes are from now on, when they are not one object
   */
  readonly onFile?: (
    key: string,
    file: { readonly path: string; readonly sizeBytes: number; readonly source?: ObjectSource },
  ) => Promise<void>;
}

/**
 * Durable when it resolves. When it rejects nothing is being sent any more, but what was sent may be there.
 * @throws storage/io, base/aborted
 */
export async function uploadPack(planned: PlannedUpload, options: UploadPackOptions): Promise<StoredPack> {
  const { key, sideKey, chunked } = planned;
  const { pack } = planned.spooled;
  const { source } = options;
  const side = planned.parts.map(({ bytes }) => bytes);
  const packBytes = pack.bytes.sizeBytes;
  const ownBytes = ownBytesOf(pack, chunked);
  const hashes =
    sideKey === undefined
      ? { sha256: await putWhole(key, [...(await readOwn(planned)), ...side], options) }
      : await sendBoth(planned, { ...options, sideKey, side });
  if (ownBytes < packBytes || sideKey !== undefined) await adopt(planned, options);
  let offset = sideKey === undefined ? ownBytes : 0;
  const parts = planned.parts.map(({ name, bytes }): PackPart => {
    const part = { name, offset, sizeBytes: bytes.length };
    offset += bytes.length;
    return part;
  });
  return {
    leaf: {
      kind: sideKey === undefined ? "joined" : "separate",
      source,
      level: options.level,
      key,
      ...hashes,
      ...(sideKey === undefined ? {} : { sideKey }),
      objectCount: pack.objectCount,
      packBytes,
      ...(ownBytes === packBytes ? {} : { ownBytes }),
      trailer: pack.index.packTrailer,
      parts,
    },
    // A key is drawn at random and never given twice: it is the pack's id as well.
    row: {
      id: key,
      key,
      ...(sideKey === undefined ? {} : { sideKey }),
      kind: source,
      sizeBytes: ownBytes + bytesOf(planned.parts),
    },
    chunked,
  };
}

/** The cache has all of the pack, whatever of it was sent. */
async function adopt(
  { key, spooled, chunked }: PlannedUpload,
  { bucket, onFile }: UploadPackOptions,
): Promise<void> {
  const file = { path: spooled.path, sizeBytes: spooled.pack.bytes.sizeBytes };
  const ownBytes = ownBytesOf(spooled.pack, chunked);
  if (chunked === undefined || ownBytes === file.sizeBytes) return onFile?.(key, file);
  const splices = chunked.splices.map(({ start, recipe }) => ({
    start,
    storedBytes: recipe.storedBytes,
    recipe: () => recipe,
  }));
  const source = new SplicedPack({ bucket, key, ownBytes, packBytes: file.sizeBytes, splices });
  await onFile?.(splicedPackKey(key), { ...file, source });
}

/** One that fails ends the other: keys that are taken back must not come to be there afterwards. */
async function sendBoth(
  planned: PlannedUpload,
  options: UploadPackOptions & { readonly sideKey: string; readonly side: readonly Uint8Array[] },
): Promise<{ readonly sha256: string; readonly sideSha256: string }> {
  const { sideKey, side } = options;
  const failed = new AbortController();
  const signal =
    options.signal === undefined ? failed.signal : AbortSignal.any([options.signal, failed.signal]);
  const failures: unknown[] = [];
  const watched = async (sending: Promise<string>): Promise<string> => {
    try {
      return await sending;
    } catch (error) {
      failures.push(error);
      failed.abort();
      return "";
    }
  };
  const [sideSha256, sha256] = await Promise.all([
    watched(putWhole(sideKey, side, { ...options, signal })),
    watched(sendPack(planned, { ...options, signal })),
  ]);
  if (failures.length > 0) throw failures[0];
  return { sha256, sideSha256 };
}

/** @returns the SHA-256 of all of it */
async function putWhole(
  key: string,
  parts: readonly Uint8Array[],
  { bucket, signal, published, onWhole }: UploadPackOptions,
): Promise<string> {
  const sizeBytes = parts.reduce((sum, part) => sum + part.length, 0);
  const hash = createHash("sha256");
  if (sizeBytes <= ONE_PUT_BYTES_MAX) {
    for (const part of parts) hash.update(part);
    await published;
    await bucket.put(key, parts, { signal });
  } else {
    await send(key, slicesOf(parts), hash, { bucket, signal, published });
  }
  // The bucket has it; a full disk here is no reason to refuse it.
  await onWhole?.(key, parts).catch(() => undefined);
  return hash.digest("hex");
}

async function sendPack(
  planned: PlannedUpload,
  { bucket, signal, published }: UploadPackOptions,
): Promise<string> {
  const hash = createHash("sha256");
  await send(planned.key, ownSlices(planned), hash, { bucket, signal, published });
  return hash.digest("hex");
}

/** Hashed slice by slice, while others have their turn. */
async function send(
  key: string,
  slices: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  hash: Hash,
  { bucket, signal, published }: Pick<UploadPackOptions, "bucket" | "signal" | "published">,
): Promise<void> {
  const upload = await bucket.createUpload(key, { signal });
  try {
    for await (const bytes of slices) {
      hash.update(bytes);
      await upload.append(bytes);
      await othersTurn();
    }
    await published;
    await upload.finish();
  } catch (error) {
    await upload.abort();
    throw error;
  }
}

function* slicesOf(parts: readonly Uint8Array[]): Iterable<Uint8Array> {
  for (const part of parts)
    for (let at = 0; at < part.length; at += READ_BYTES) yield part.subarray(at, at + READ_BYTES);
}

function ownBytesOf({ bytes }: Pack, chunked: ChunkedPack | undefined): number {
  const splices = chunked?.splices ?? [];
  return splices.reduce((sum, { recipe }) => sum - recipe.storedBytes, bytes.sizeBytes);
}

/** What is sent of the pack. */
async function* ownSlices({ spooled, chunked }: PlannedUpload): AsyncGenerator<Buffer, void, void> {
  const { pack } = spooled;
  let at = 0;
  const rest = { start: pack.bytes.sizeBytes, end: pack.bytes.sizeBytes };
  const holes =
    chunked?.splices.map(({ start, recipe }) => ({ start, end: start + recipe.storedBytes })) ?? [];
  for (const { start, end } of [...holes, rest]) {
    for (; at < start; at += READ_BYTES) yield await readRange(pack, at, Math.min(READ_BYTES, start - at));
    at = end;
  }
}

async function readOwn(planned: PlannedUpload): Promise<readonly Buffer[]> {
  const parts: Buffer[] = [];
  for await (const part of ownSlices(planned)) parts.push(part);
  return parts;
}

async function readRange(pack: Pack, offset: number, length: number): Promise<Buffer> {
  const bytes = pack.bytes.read(offset, length);
  return isPromise(bytes) ? await bytes : bytes;
}
