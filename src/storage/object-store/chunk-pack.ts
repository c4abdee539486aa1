/**
 * Keeping the large blobs of a finished pack as chunks. Their entries become others, spliced from kept chunks, the pack another one
 * with the same objects in the same order: a plain pack again, with its own index and trailer, that is written here as a whole (the
 * cache takes it) and sent without the chunks. What was made for the old one, a bitmap or a commit-graph, goes with the new one.
 *
 *     find large blobs ──► recipe of each: known, or cut ──► containers sent ──► pack laid out and written ──► index
 *
 * A blob that some pack of the repository has as chunks is not looked into again, unless these are not what they were: then it is cut
 * like a new one, and what is missing of it is written once more. Memory: a window of a blob, and some MiB.
 */
import { createHash, type Hash } from "node:crypto";
import { type FileHandle, mkdir, mkdtemp, open, rm } from "node:fs/promises";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createInflate } from "node:zlib";
import { isGitwharfError, throwIfAborted } from "../../base/errors.js";
import { othersTurn } from "../../base/others-turn.js";
import { runInWorker } from "../../base/worker-pool.js";
import type { Pack } from "../../pack/pack.js";
import { DiskPackSink, type FinishedPack } from "../disk/disk-pack-sink.js";
import { errorCode, ioError } from "../disk/file-errors.js";
import type { MakeRoom } from "../disk/make-room.js";
import type { Bucket } from "./bucket/bucket.js";
import { ChunkContainers } from "./chunk-containers.js";
import type { IndexAnswer, IndexTask, LayOutTask, PackLayout, Replacement } from "./chunks/chunk-task.js";
import { formatRecipe, type Recipe } from "./chunks/recipe.js";
import { RecipeBuilder } from "./chunks/recipe-builder.js";
import { spliceHead, splicedEntryBytes, spliceTail } from "./chunks/splice-entry.js";
import { type KnownBlob, KnownBlobs } from "./known-blobs.js";
import { CHUNK_WORKER, type LargeBlob } from "./large-blobs.js";
import type { MetadataStore } from "./metadata/metadata-store.js";
import { NetworkChunks, WORK_IN_WORKERS } from "./network-chunks.js";
import type { SpooledPack } from "./pack-upload.js";
import type { StoredCore } from "./stored-core.js";
import type { ChunkedPack, FormerPack, Splice } from "./stored-pack.js";
import { corrupt } from "./tree/canonical-bytes.js";
import type { PackSource } from "./tree/pack-leaves.js";

export interface ChunkPackOptions {
  readonly core: StoredCore;
  readonly bucket: Bucket;
  readonly metadata: MetadataStore;
  readonly spoolDirectory: string;
  readonly makeRoom: MakeRoom;
  readonly source: PackSource;
  /** Writes down that these keys may come to be in the bucket, too. @throws storage/io */
  readonly intend: (keys: readonly string[]) => Promise<void>;
  /** Nothing is to be seen in the bucket before. @default now */
  readonly published?: Promise<void> | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface ChunkedSpool {
  /** The pack to send. */
  readonly spooled: SpooledPack;
  readonly chunked: ChunkedPack;
  /** Nothing is read from `spooled` any more. */
  dispose(): Promise<void>;
}

const READ_BYTES = 1024 * 1024;
const INFLATED_AT_ONCE = 256 * 1024;

/** What becomes of the entry of a large blob. */
interface KeptBlob {
  readonly blob: LargeBlob;
  readonly recipe: Recipe;
  /** undefined: its bytes are the spliced ones already. */
  readonly replacement: Replacement | undefined;
}

interface SplicedSpool {
  readonly spooled: SpooledPack;
  readonly splices: readonly Splice[];
  readonly former?: FormerPack;
}

/** An entry that was written to the file of entries. */
interface WrittenEntry extends Omit<Replacement, "offset"> {
  readonly recipe: Recipe;
}

/** @returns undefined when there is nothing to do. @throws storage/io, storage/corrupt, object/corrupt */
export async function chunkPack(
  spooled: SpooledPack,
  blobs: readonly LargeBlob[],
  options: ChunkPackOptions,
): Promise<ChunkedSpool | undefined> {
  const { spoolDirectory } = options;
  let directory: string;
  try {
    directory = await mkdtemp(`${spoolDirectory}/chunking-`);
    await mkdir(`${directory}/pack`);
  } catch (cause) {
    throw ioError("making a directory in", spoolDirectory, cause);
  }
  const chunking = new Chunking(spooled, directory, options);
  try {
    const made = await chunking.run(blobs);
    if (made === undefined) await chunking.dispose();
    return made;
  } catch (error) {
    await chunking.dispose();
    throw error;
  }
}

class Chunking {
  readonly #spooled: SpooledPack;
  readonly #directory: string;
  readonly #options: ChunkPackOptions;
  #finished: FinishedPack | undefined;

  constructor(spooled: SpooledPack, directory: string, options: ChunkPackOptions) {
    this.#spooled = spooled;
    this.#directory = directory;
    this.#options = options;
  }

  async run(blobs: readonly LargeBlob[]): Promise<ChunkedSpool | undefined> {
    const { bucket, metadata, core } = this.#options;
    const path = `${this.#directory}/entries`;
    const file = await open(path, "wx+", 0o600);
    const containers = new ChunkContainers(this.#options);
    const { networkId } = core;
    const { makeRoom } = this.#options;
    const chunks = new NetworkChunks({ bucket, metadata, networkId, containers, file, makeRoom });
    try {
      const kept = await this.#keepAll(blobs, chunks);
      if (kept.length === 0) return await this.#leave(containers, chunks);
      const { spooled, splices, former } = await this.#splice(kept, file);
      if (splices.length === 0) return await this.#leave(containers, chunks);
      const own = new Set(containers.keys);
      const needed = new Set(
        splices.flatMap(({ recipe }) => recipe.chunks.map(({ containerKey }) => containerKey)),
      );
      const chunked: ChunkedPack = {
        splices,
        containers: await containers.finish(),
        chunks: chunks.placed,
        held: [...needed].filter((key) => !own.has(key)),
        former,
      };
      return { spooled, chunked, dispose: () => this.dispose() };
    } catch (error) {
      // It can go as it is.
      if (isDiskFull(error)) return await this.#leave(containers, chunks);
      await containers.abort();
      throw error;
    } finally {
      await file.close();
      await rm(path, { force: true });
    }
  }

  /** The pack goes as it came. What was sent already is listed, so that it is found when it is needed, or removed. */
  async #leave(containers: ChunkContainers, { placed }: NetworkChunks): Promise<ChunkedSpool | undefined> {
    await containers.abort();
    const { finished } = containers;
    if (finished.length === 0) return undefined;
    const keys = new Set(finished.map(({ key }) => key));
    const chunks = placed.filter(({ containerKey }) => keys.has(containerKey));
    return {
      spooled: this.#spooled,
      chunked: { splices: [], containers: finished, chunks, held: [] },
      dispose: () => this.dispose(),
    };
  }

  async dispose(): Promise<void> {
    this.#finished?.file.release();
    this.#finished = undefined;
    await rm(this.#directory, { recursive: true, force: true });
  }

  /** What takes seconds for a pack with millions of objects keeps no request waiting, unless it is one's own. */
  get #where(): { readonly isBackground: boolean } {
    const { source } = this.#options;
    return { isBackground: source !== "push" && source !== "import" };
  }

  /** The pack as it is to be sent, and where in it the chunks stand: none when it would be of too many pieces otherwise. */
  async #splice(kept: readonly KeptBlob[], file: FileHandle): Promise<SplicedSpool> {
    const { pack } = this.#spooled;
    const replacements = kept.flatMap(({ replacement }) => replacement ?? []);
    const asItIs: SplicedSpool = {
      spooled: this.#spooled,
      splices: kept.flatMap(({ blob, recipe, replacement }) =>
        replacement === undefined ? [spliceOf(blob.offset, recipe)] : [],
      ),
    };
    if (replacements.length === 0) return asItIs;
    const task: LayOutTask = {
      do: "lay out",
      objectFormat: pack.objectFormat,
      index: pack.index.bytes,
      pack: pack.bytes.describe(),
      replacements,
    };
    const layout = await runInWorker<LayOutTask, PackLayout | undefined>(CHUNK_WORKER, task, this.#where);
    if (layout === undefined) return asItIs;
    return {
      spooled: await this.#write(layout, file),
      splices: kept.map(({ blob, recipe }) => spliceOf(layout.offsets[blob.position] as number, recipe)),
      former: { trailer: pack.index.packTrailer, moves: layout.moves },
    };
  }

  /** In the order of their offsets. */
  async #keepAll(blobs: readonly LargeBlob[], chunks: NetworkChunks): Promise<readonly KeptBlob[]> {
    const { core, source } = this.#options;
    const { pack } = this.#spooled;
    const kept: KeptBlob[] = [];
    const known = await KnownBlobs.open(core);
    try {
      for (const blob of blobs) {
        throwIfAborted(this.#options.signal);
        const same = await known.find(pack.index.oidAt(blob.position), blob.sizeBytes);
        if (same !== undefined && source !== "push" && source !== "import" && isAsKept(pack, blob, same)) {
          kept.push({ blob, recipe: same.recipe, replacement: undefined });
          continue;
        }
        const entry =
          (same === undefined ? undefined : await copyKnown(same, chunks)) ?? (await this.#cut(blob, chunks));
        // Chunks that nobody names then are the janitor's.
        if (entry === undefined) continue;
        const { recipe, ...written } = entry;
        kept.push({ blob, recipe, replacement: { offset: blob.offset, ...written } });
      }
      return kept;
    } finally {
      known.release();
    }
  }

  /** @returns undefined when it has too many chunks */
  async #cut(blob: LargeBlob, chunks: NetworkChunks): Promise<WrittenEntry | undefined> {
    const { pack } = this.#spooled;
    const start = chunks.begin();
    const builder = new RecipeBuilder(chunks, WORK_IN_WORKERS);
    await chunks.write(spliceHead(blob.sizeBytes));
    const { headerLength } = await pack.readEntryHeader(blob.offset);
    const inflate = createInflate({ chunkSize: INFLATED_AT_ONCE });
    const failed = pipeline(Readable.from(slices(pack, blob.offset + headerLength, blob.end)), inflate);
    // It is told by the loop, too.
    failed.catch(() => undefined);
    for await (const bytes of inflate as AsyncIterable<Buffer>) {
      throwIfAborted(this.#options.signal);
      await builder.append(bytes);
    }
    await failed;
    const recipe = await builder.finish();
    if (recipe.sizeBytes !== blob.sizeBytes)
      throw corrupt("a pushed pack", `its entry at ${blob.offset} has ${recipe.sizeBytes} bytes`);
    await chunks.write(spliceTail(recipe.chunks));
    return formatRecipe(recipe) === undefined ? undefined : writtenEntry(recipe, start, chunks);
  }

  async #write({ offsets, crc32s, pieces }: PackLayout, file: FileHandle): Promise<SpooledPack> {
    const { pack, reverseIndexPath, madeParts = [] } = this.#spooled;
    const { objectFormat } = pack;
    const sink = new DiskPackSink({
      directory: async () => `${this.#directory}/pack`,
      objectFormat,
      sync: false,
      makeRoom: this.#options.makeRoom,
      onFinish: (finished) => (this.#finished = finished),
    });
    try {
      const hash = createHash(objectFormat);
      const append = async (bytes: Uint8Array): Promise<void> => {
        hash.update(bytes);
        await sink.append(bytes);
        throwIfAborted(this.#options.signal);
        await othersTurn();
      };
      for (const piece of pieces) {
        if (piece.from === "bytes") await append(piece.bytes);
        else if (piece.from === "pack")
          for await (const bytes of slices(pack, piece.start, piece.end)) await append(bytes);
        else for await (const bytes of fileSlices(file, piece.start, piece.end)) await append(bytes);
      }
      const trailer = await endWith(sink, hash);
      const task: IndexTask = {
        do: "index",
        objectFormat,
        index: pack.index.bytes,
        layout: { offsets, crc32s },
        trailer,
        packBytes: sink.sizeBytes,
        bitmap: madeParts.find(({ name }) => name === "bitmap")?.bytes,
      };
      const answer = await runInWorker<IndexTask, IndexAnswer>(CHUNK_WORKER, task, this.#where);
      const { index, reverseIndex, bitmap } = answer;
      const made = await sink.finish({
        trailer,
        index,
        ...(reverseIndexPath === undefined ? {} : { reverseIndex }),
      });
      const path = `${this.#directory}/pack/pack-${trailer}`;
      return {
        pack: made,
        path: `${path}.pack`,
        reverseIndexPath: reverseIndexPath === undefined ? undefined : `${path}.rev`,
        // A commit-graph says nothing of the pack.
        madeParts: madeParts.map((part) =>
          part.name === "bitmap" && bitmap !== undefined ? { ...part, bytes: bitmap } : part,
        ),
      };
    } catch (error) {
      await sink.abort();
      throw error;
    }
  }
}

function isDiskFull(error: unknown): boolean {
  return isGitwharfError(error, "storage/io") && ["ENOSPC", "EDQUOT"].includes(errorCode(error.cause) ?? "");
}

async function endWith(sink: DiskPackSink, hash: Hash): Promise<string> {
  const trailer = hash.digest();
  await sink.append(trailer);
  return trailer.toString("hex");
}

function spliceOf(entryOffset: number, recipe: Recipe): Splice {
  return { start: entryOffset + spliceHead(recipe.sizeBytes).length, recipe };
}

/** A copy that was made of another pack here, byte for byte. */
function isAsKept(pack: Pack, blob: LargeBlob, same: KnownBlob): boolean {
  return (
    blob.end - blob.offset === splicedEntryBytes(same.recipe) &&
    pack.index.crc32At(blob.position) === same.pack.index.crc32At(same.position)
  );
}

/** @returns undefined when it cannot be read, or is not what it was: it must not be named a second time */
async function copyKnown(known: KnownBlob, chunks: NetworkChunks): Promise<WrittenEntry | undefined> {
  const { pack, position, recipe } = known;
  const start = chunks.begin();
  await chunks.write(spliceHead(recipe.sizeBytes));
  const kept = slices(pack, known.start, known.start + recipe.storedBytes);
  for (;;) {
    const next = await readable(kept.next());
    if (next === undefined) return undefined;
    if (next.done === true) break;
    await chunks.write(next.value);
  }
  await chunks.write(spliceTail(recipe.chunks));
  return chunks.crc32 === pack.index.crc32At(position) ? writtenEntry(recipe, start, chunks) : undefined;
}

/** undefined: the store cannot read it. Whether that is the bucket as a whole is seen by who asks it next. */
async function readable<T>(read: Promise<T>): Promise<T | undefined> {
  try {
    return await read;
  } catch (error) {
    if (isGitwharfError(error, "storage/corrupt", "storage/not-found", "storage/io")) return undefined;
    throw error;
  }
}

function writtenEntry(recipe: Recipe, start: number, { fileBytes, crc32 }: NetworkChunks): WrittenEntry {
  return { recipe, start, end: fileBytes, crc32 };
}

async function* slices(pack: Pack, start: number, end: number): AsyncGenerator<Buffer, void, void> {
  for (let at = start; at < end; at += READ_BYTES) {
    const length = Math.min(READ_BYTES, end - at);
    const bytes = await pack.bytes.read(at, length);
    if (bytes.length < length) throw corrupt("a pack", `it ends before ${end}`);
    yield bytes;
  }
}

async function* fileSlices(file: FileHandle, start: number, end: number): AsyncGenerator<Buffer, void, void> {
  for (let at = start; at < end; ) {
    const { buffer, bytesRead } = await file.read(
      Buffer.allocUnsafe(Math.min(READ_BYTES, end - at)),
      0,
      Math.min(READ_BYTES, end - at),
      at,
    );
    if (bytesRead === 0) throw corrupt("a file of spliced entries", `it ends at ${at}`);
    yield buffer.subarray(0, bytesRead);
    at += bytesRead;
  }
}
