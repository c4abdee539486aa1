/**
 * The bytes of a pack of which some are chunks, as if they were one object of the bucket: those between from the pack's own
 * object, the chunks from their containers. Nothing is inflated or deflated.
 *
 *     pack       … head | chunks ………… | tail … head | chunks … | tail …
 *     object     … head |              tail … head |           tail …
 */
import type { Bucket, BucketRange, BucketRequestOptions } from "./bucket/bucket.js";
import type { ObjectSource } from "./cache/partial-object.js";
import { type ContainerSegment, storedSegments } from "./chunks/splice-entry.js";
import { corrupt } from "./tree/canonical-bytes.js";
import type { OpenSplice } from "./stored-pack.js";

/** Of a pack in the cache: no object has such a key. */
export function splicedPackKey(key: string): string {
  return `${key}+chunks`;
}

export interface SplicedPackOptions {
  readonly bucket: Bucket;
  /** Of the pack's own object. */
  readonly key: string;
  /** Of the pack in that object. */
  readonly ownBytes: number;
  /** Of the pack. */
  readonly packBytes: number;
  /** By ascending start. */
  readonly splices: readonly OpenSplice[];
}

/** Bytes [start, end) of the pack that are chunks, and how many of the bytes before them are, too. */
interface Hole {
  readonly start: number;
  readonly end: number;
  readonly before: number;
  readonly splice: OpenSplice;
}

/** Blobs of which it is kept where their chunks stand: who reads one comes again for each of its parts. */
const RECENT_MAX = 8;

export class SplicedPack implements ObjectSource {
  readonly name: string;
  readonly #options: SplicedPackOptions;
  readonly #holes: readonly Hole[];
  /** Used longest ago first. */
  readonly #recent = new Map<Hole, readonly ContainerSegment[]>();

  /** @throws storage/corrupt when the splices are not those of the pack */
  constructor(options: SplicedPackOptions) {
    this.#options = options;
    this.name = options.bucket.name;
    const holes: Hole[] = [];
    let before = 0;
    let at = 0;
    for (const splice of options.splices) {
      const { start, storedBytes } = splice;
      const end = start + storedBytes;
      if (start < at || end > options.packBytes) throw corrupt(options.key, "its chunks are not within it");
      holes.push({ start, end, before, splice });
      before += storedBytes;
      at = end;
    }
    if (options.ownBytes + before !== options.packBytes)
      throw corrupt(options.key, "it and its chunks are not as long as its pack");
    this.#holes = holes;
  }

  async *stream(
    _key: string,
    range: BucketRange = { start: 0, end: this.#options.packBytes },
    options: BucketRequestOptions = {},
  ): AsyncGenerator<Buffer, void, void> {
    const { bucket, key, packBytes, ownBytes } = this.#options;
    const end = Math.min(range.end, packBytes);
    for (let at = range.start; at < end; ) {
      const hole = this.#holes[this.#firstBehind(at)];
      if (hole !== undefined && hole.start <= at) {
        const to = Math.min(end, hole.end);
        yield* this.#chunks(hole, at, to, options);
        at = to;
        continue;
      }
      const to = Math.min(end, hole?.start ?? packBytes);
      const before = hole?.before ?? packBytes - ownBytes;
      yield* exactly(bucket, key, { start: at - before, end: to - before }, options);
      at = to;
    }
  }

  async *#chunks(
    hole: Hole,
    start: number,
    end: number,
    options: BucketRequestOptions,
  ): AsyncGenerator<Buffer, void, void> {
    let at = hole.start;
    for (const segment of await this.#segmentsOf(hole)) {
      const next = at + segment.end - segment.start;
      if (next > start && at < end) {
        const from = segment.start + Math.max(start - at, 0);
        const to = segment.end - Math.max(next - end, 0);
        yield* exactly(this.#options.bucket, segment.key, { start: from, end: to }, options);
      }
      at = next;
      if (at >= end) return;
    }
  }

  async #segmentsOf(hole: Hole): Promise<readonly ContainerSegment[]> {
    const segments = this.#recent.get(hole) ?? storedSegments(await hole.splice.recipe());
    this.#recent.delete(hole);
    this.#recent.set(hole, segments);
    for (const oldest of this.#recent.keys()) {
      if (this.#recent.size <= RECENT_MAX) break;
      this.#recent.delete(oldest);
    }
    return segments;
  }

  /** The first hole that ends behind a place. */
  #firstBehind(place: number): number {
    let low = 0;
    let high = this.#holes.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#holes[middle] as Hole).end <= place) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** What follows must not take the place of bytes that are missing. */
async function* exactly(
  bucket: Bucket,
  key: string,
  range: BucketRange,
  options: BucketRequestOptions,
): AsyncGenerator<Buffer, void, void> {
  let missing = range.end - range.start;
  for await (const bytes of bucket.stream(key, range, options)) {
    missing -= bytes.length;
    yield bytes;
  }
  if (missing !== 0) throw corrupt(key, `it ends ${missing} bytes before ${range.end}`);
}
