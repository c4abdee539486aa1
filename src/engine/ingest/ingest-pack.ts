/**
 * Takes a pack from a peer into a quarantine: every byte checked, every delta resolved, every object hashed, a thin
 * pack completed, index written. When it returns, the objects can be read through `quarantine.objects`; whether
 * they may stay is decided by `engine/connectivity.ts` and by the hooks.
 *
 * Nothing in the stream is believed: memory grows with what arrives, and every refusal is a `peer` error whose
 * message goes to the person who pushed (`unpack <message>`).
 */
import type { ByteSource } from "../../base/byte-streams.js";
import { throwIfAborted } from "../../base/errors.js";
import type { Limits } from "../../base/limits.js";
import type { SharedBudget } from "../../base/shared-budget.js";
import type { FsckPolicy } from "../../object/fsck/fsck-message.js";
import type { ObjectFormat } from "../../object/object-format.js";
import type { Pack } from "../../pack/pack.js";
import type { ObjectReader } from "../../storage/contracts/object-reader.js";
import type { PackSink, Quarantine } from "../../storage/contracts/quarantine.js";
import { ChunkFeed } from "./chunk-feed.js";
import { finishLargePack } from "./finish-large-pack.js";
import { finishSmallPack } from "./finish-small-pack.js";
import { LargePack } from "./large-pack.js";
import { listLooseObjects } from "./loose-list.js";
import { NO_LINKS, type NewObjectLinks, type SentEntries } from "./new-object-links.js";
import { PackArrival } from "./pack-arrival.js";
import { SMALL_PACK_BYTES_MAX, SmallPack } from "./small-pack.js";

export interface IngestRequest {
  readonly quarantine: Quarantine;
  /** The repository's own objects: bases of thin packs, and namesakes to compare with. */
  readonly objects: ObjectReader;
  /** Begins with `PACK`. It is left as soon as the pack is whole; the stream need not end there. */
  readonly source: ByteSource;
  readonly objectFormat: ObjectFormat;
  readonly limits: Limits;
  /** SHA-1 with collision detection for every object of the pack; nothing in repositories of SHA-256. */
  readonly collisionDetection: boolean;
  /** Checks of commits, trees, tags and special blobs; undefined: none. */
  readonly fsck?: FsckPolicy | undefined;
  /** receive.maxInputSize, bytes; Infinity when unset. */
  readonly maxInputSizeBytes: number;
  /** What the large packs of all pushes may hold together. @default without bound */
  readonly packObjects?: SharedBudget | undefined;
  /** A pack of more bytes is worked on by worker threads alone. @default 1 MiB, and not more */
  readonly inlineBytesMax?: number;
  readonly signal?: AbortSignal | undefined;
  /** Texts for the peer's terminal, as git has them; lines that are overwritten end in CR. */
  readonly onProgress?: ((text: string) => void) | undefined;
}

export interface IngestResult {
  /** undefined: the pack was empty. */
  readonly pack: Pack | undefined;
  /** Objects that the peer sent (bases added to a thin pack not counted). */
  readonly objectCount: number;
  readonly links: NewObjectLinks;
  /** undefined: the pack was empty. */
  readonly sent?: SentEntries;
  /** What the checks found that is no reason to refuse. */
  readonly warnings: readonly string[];
}

const EMPTY: IngestResult = { pack: undefined, objectCount: 0, links: NO_LINKS, warnings: [] };

/** After so long without a byte, what is there is looked at even if it is little. */
const IDLE_MS = 10;

/**
 * On failure the pack is removed from the quarantine; the quarantine itself stays the caller's.
 * Memory: a small pack (1 MiB) up to 10 MiB, all small ones together about 64 MiB; a large one about 60 bytes an object here, and up to 200 MiB in each
 * worker while deltas are resolved (objects of more than some MiB add their own size).
 * @throws pack/bad-pack, pack/bad-zlib, pack/bad-delta, pack/missing-base, pack/checksum-mismatch, pack/collision,
 *   object/malformed, base/limit-exceeded, base/truncated; base/aborted, object/corrupt, storage/io
 */
export async function ingestPack(request: IngestRequest): Promise<IngestResult> {
  throwIfAborted(request.signal);
  const sink = await request.quarantine.createPack();
  const feed = new ChunkFeed(request.source);
  const leave = (): void => feed.wake();
  request.signal?.addEventListener("abort", leave);
  try {
    const result = await new Ingest(request, sink, feed).run();
    if (result.pack === undefined) await sink.abort();
    return result;
  } catch (error) {
    await sink.abort().catch(() => undefined);
    throw error;
  } finally {
    request.signal?.removeEventListener("abort", leave);
    feed.close();
  }
}

class Ingest {
  readonly #request: IngestRequest;
  readonly #sink: PackSink;
  readonly #feed: ChunkFeed;
  readonly #arrival: PackArrival;
  /** Bytes of the last such entry. */
  #partialBytes = 0;

  constructor(request: IngestRequest, sink: PackSink, feed: ChunkFeed) {
    this.#request = request;
    this.#sink = sink;
    this.#feed = feed;
    this.#arrival = new PackArrival({ ...request, sink });
  }

  async run(): Promise<IngestResult> {
    const pack = new SmallPack({ ...this.#request, signal: this.#request.signal });
    let trailer: string | undefined;
    try {
      trailer = await this.#receiveSmall(pack);
      if (trailer !== undefined) {
        if (pack.count === 0) return EMPTY;
        const finished = await finishSmallPack(pack, trailer, this.#sink, this.#request);
        if (finished !== undefined) return finished;
      }
    } finally {
      pack.release();
    }
    return this.#ingestLarge(trailer);
  }

  /** @returns the trailer; undefined when it is too large for the main thread */
  async #receiveSmall(pack: SmallPack): Promise<string | undefined> {
    const arrival = this.#arrival;
    for (let ended = false; ; ) {
      const event = await this.#feed.next(IDLE_MS);
      throwIfAborted(this.#request.signal);
      if (event === "end") ended = true;
      else if (event !== "woken") {
        await arrival.take(event);
        if (arrival.sizeBytes > Math.min(this.#request.inlineBytesMax ?? Infinity, SMALL_PACK_BYTES_MAX))
          return undefined;
      }
      const { objectCount } = arrival;
      // What does not press is not looked at: it would be for nothing when the pack turns out to be large.
      const pressing = event === "woken" || ended || arrival.seemsWhole;
      if (objectCount !== undefined && pressing && arrival.sizeBytes - pack.nextOffset > this.#partialBytes) {
        if (!(await this.#look(pack, objectCount))) return undefined;
        if (pack.count === objectCount) {
          const trailer = arrival.trailer(pack.nextOffset);
          if (trailer !== undefined) return trailer;
        }
      }
      if (ended) throw arrival.truncated(pack.count);
    }
  }

  async #look(pack: SmallPack, objectCount: number): Promise<boolean> {
    const { sizeBytes } = this.#arrival;
    const window = await this.#sink.range().read(pack.nextOffset, sizeBytes - pack.nextOffset);
    const fits = await pack.scan(window, objectCount);
    this.#partialBytes = pack.count === objectCount ? 0 : sizeBytes - pack.nextOffset;
    return fits;
  }

  async #ingestLarge(known: string | undefined): Promise<IngestResult> {
    const { objects, objectFormat, limits, collisionDetection, fsck, signal } = this.#request;
    const loose = await listLooseObjects(objects, signal);
    const context = { objectFormat, limits, collisionDetection, fsck, objects: objects.describe(), loose };
    const share = this.#request.packObjects?.open();
    try {
      const pack = new LargePack(context, { signal, share });
      const trailer = await this.#receiveLarge(pack, known);
      if (pack.count === 0) return EMPTY;
      return await finishLargePack(pack, trailer, this.#sink, this.#request);
    } finally {
      share?.release();
    }
  }

  /** @param known the trailer, when all bytes are there already and were found to be right */
  async #receiveLarge(pack: LargePack, known: string | undefined): Promise<string> {
    const arrival = this.#arrival;
    let scanning: Promise<void> | undefined;
    let failure: { readonly error: unknown } | undefined;
    let pressing = known !== undefined || this.#feed.ended;
    try {
      for (;;) {
        throwIfAborted(this.#request.signal);
        if (failure !== undefined) throw failure.error;
        const count = arrival.objectCount ?? 0;
        if (scanning === undefined && pack.count === count) {
          const trailer = known ?? arrival.trailer(pack.nextOffset);
          if (trailer !== undefined) return trailer;
        }
        if (scanning === undefined && pack.count < count && pack.isScanDue(arrival.sizeBytes, pressing)) {
          const spool = { ...this.#sink.range().describe(), sizeBytes: arrival.sizeBytes };
          scanning = pack.scan(spool, count).then(
            () => {
              scanning = undefined;
              this.#feed.wake();
            },
            (error: unknown) => {
              scanning = undefined;
              failure = { error };
              this.#feed.wake();
            },
          );
        }
        const ended = known !== undefined || this.#feed.ended;
        if (ended && scanning === undefined) throw arrival.truncated(pack.count);
        if (ended) {
          await scanning;
          continue;
        }
        const event = await this.#feed.next(IDLE_MS);
        pressing = event === "woken" || event === "end";
        if (event !== "woken" && event !== "end") await arrival.take(event);
      }
    } finally {
      // The bytes go when this function fails: not under a worker that reads them.
      await scanning;
    }
  }
}
