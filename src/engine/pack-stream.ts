/**
 * The bytes of a planned pack, pulled: one read ahead, nothing piled up. Long runs are passed on as they were read;
 * short pieces are gathered, so that a reader gets few and large buffers.
 */
import type { Hash } from "node:crypto";
import { promisify } from "node:util";
import { deflate as deflateWithCallback } from "node:zlib";
import { GitwharfError, throwIfAborted } from "../base/errors.js";
import { createObjectHash } from "../object/object-format.js";
import type { ObjectId } from "../object/object-id.js";
import { entryTypeOf, formatEntryHeader } from "../pack/entry-header.js";
import type { Pack } from "../pack/pack.js";
import type { PackPlan } from "./pack-plan.js";

export interface PackStreamOptions {
  readonly signal?: AbortSignal | undefined;
  /** Bytes read at a time; at least 64 KiB. @default 1 MiB */
  readonly chunkBytes?: number | undefined;
}

const BLOCK_BYTES = 64 * 1024;
const CHUNK_BYTES = 16 * BLOCK_BYTES;
/** Pieces from this size on are passed on without being copied. */
const RUN_BYTES = 16 * 1024;
const deflateAsync = promisify(deflateWithCallback);
/** Bytes between two wanted pieces that are read along rather than making another read. */
const GAP_BYTES = 64 * 1024;

/**
 * Header, objects, trailer. Memory: two chunks and what the reader keeps. The buffers are the reader's, but are
 * views of larger ones.
 * @throws storage/io, base/aborted
 */
export async function* streamPack(
  plan: PackPlan,
  options: PackStreamOptions = {},
): AsyncGenerator<Buffer, void, void> {
  const { signal } = options;
  const { data } = plan;
  const { segmentPacks, segmentStarts, segmentEnds } = data;
  const chunkBytes = Math.max(BLOCK_BYTES, options.chunkBytes ?? CHUNK_BYTES);
  const known = plan.trailer;
  const hash: Hash | undefined = known === undefined ? createObjectHash(data.objectFormat) : undefined;
  const literals: Buffer = Buffer.from(
    data.literals.buffer,
    data.literals.byteOffset,
    data.literals.byteLength,
  );
  const gather = new Gather();
  const windows = new WindowReader(plan, chunkBytes);
  let window: Window | undefined;
  let bytes = literals;
  let ahead = windows.next();
  const hashed = (piece: Buffer): Buffer => {
    hash?.update(piece);
    return piece;
  };
  try {
    for (let i = 0; i < segmentPacks.length; i++) {
      const literal = (segmentPacks[i] as number) < 0;
      const end = segmentEnds[i] as number;
      for (let at = segmentStarts[i] as number; at < end; ) {
        let from = at;
        let to = end;
        let source = literals;
        if (!literal) {
          if (window === undefined || i > window.lastSegment || at >= window.end) {
            window = ahead as Window;
            bytes = window.bytes instanceof Promise ? await window.bytes : window.bytes;
            throwIfAborted(signal);
            if (bytes.length !== window.end - window.start) throw shortRead();
            ahead = windows.next();
          }
          source = bytes;
          from = at - window.start;
          to = Math.min(end, window.end) - window.start;
        }
        at += to - from;
        const isRun = to - from >= RUN_BYTES;
        const full = isRun ? gather.take() : gather.add(source, from, to);
        if (full !== undefined) yield hashed(full);
        if (isRun) yield hashed(source.subarray(from, to));
      }
    }
    const rest = gather.take();
    if (rest !== undefined) yield hashed(rest);
    for (const oid of data.deferred) {
      throwIfAborted(signal);
      for (const piece of await encodeWhole(plan, oid)) yield hashed(piece);
    }
  } finally {
    // Nothing may be read from the snapshot once the reader has left.
    await Promise.resolve(ahead?.bytes).catch(() => undefined);
  }
  throwIfAborted(signal);
  const trailer = known ?? (hash as Hash).digest("hex");
  if (known === undefined) plan.setTrailer(trailer);
  yield Buffer.from(trailer, "hex");
}

/** A large object that stands in no pack, or whose delta cannot be used. In memory: its content, and it deflated. */
async function encodeWhole(plan: PackPlan, oid: ObjectId): Promise<Buffer[]> {
  const object = await plan.objects.read(oid);
  if (object === undefined) {
    throw new GitwharfError(
      "object/corrupt",
      `object ${oid} is missing from the repository; run 'gitwharf fsck'`,
    );
  }
  const deflated = await deflateAsync(object.data);
  return [formatEntryHeader(entryTypeOf(object.type), object.data.length), deflated];
}

function shortRead(): GitwharfError {
  return new GitwharfError("storage/io", "a pack is shorter than its index says; run 'gitwharf fsck'");
}

/** Bytes [start, end) of one pack, which serve its segments up to `lastSegment`. */
interface Window {
  readonly lastSegment: number;
  readonly start: number;
  readonly end: number;
  readonly bytes: Promise<Buffer> | Buffer;
}

/** Reads pack segments in order, several in one read when they lie close together. */
class WindowReader {
  readonly #plan: PackPlan;
  readonly #chunkBytes: number;
  #segment = 0;
  /** Where in `#segment` the next window begins; undefined: at its start. */
  #at: number | undefined;

  constructor(plan: PackPlan, chunkBytes: number) {
    this.#plan = plan;
    this.#chunkBytes = chunkBytes;
  }

  next(): Window | undefined {
    const { segmentPacks, segmentStarts, segmentEnds } = this.#plan.data;
    const count = segmentPacks.length;
    let i = this.#segment;
    while (i < count && (segmentPacks[i] as number) < 0) i++;
    if (i >= count) return undefined;
    const pack = segmentPacks[i] as number;
    const start = (i === this.#segment ? this.#at : undefined) ?? (segmentStarts[i] as number);
    const limit = start + this.#chunkBytes;
    let lastSegment = i;
    let end = start;
    let cut = false;
    for (; i < count; i++) {
      const which = segmentPacks[i] as number;
      if (which < 0) continue;
      const from = i === lastSegment ? start : (segmentStarts[i] as number);
      if (which !== pack || from < end || from - end > GAP_BYTES || from >= limit) break;
      lastSegment = i;
      end = Math.min(segmentEnds[i] as number, limit);
      cut = end < (segmentEnds[i] as number);
      if (cut) break;
    }
    this.#segment = cut ? lastSegment : lastSegment + 1;
    this.#at = cut ? end : undefined;
    const bytes = (this.#plan.packs[pack] as Pack).bytes.read(start, end - start);
    // A failed read must not be an unhandled rejection when the reader has left before it was awaited.
    if (bytes instanceof Promise) bytes.catch(() => undefined);
    return { lastSegment, start, end, bytes };
  }
}

/** Small pieces, copied together. */
class Gather {
  #buffer: Buffer = Buffer.allocUnsafeSlow(BLOCK_BYTES);
  #start = 0;
  #length = 0;

  /** Copies a piece that is smaller than the buffer; answers what was gathered when there is no more room. */
  add(source: Buffer, start: number, end: number): Buffer | undefined {
    let full: Buffer | undefined;
    if (this.#length + end - start > BLOCK_BYTES) {
      full = this.take();
      this.#buffer = Buffer.allocUnsafeSlow(BLOCK_BYTES);
      this.#start = 0;
      this.#length = 0;
    }
    if (end - start < 32) {
      const target = this.#buffer;
      let at = this.#length;
      for (let i = start; i < end; i++) target[at++] = source[i] as number;
    } else source.copy(this.#buffer, this.#length, start, end);
    this.#length += end - start;
    return full;
  }

  /** What was gathered since the last time. */
  take(): Buffer | undefined {
    if (this.#length === this.#start) return undefined;
    const taken = this.#buffer.subarray(this.#start, this.#length);
    this.#start = this.#length;
    return taken;
  }
}
