/**
 * The entry of a pack for a blob that is kept as chunks, without inflating or deflating anything: a list of what is to be
 * copied. Specification: gitformat-pack (entry), RFC 1950 (zlib), RFC 1951 (DEFLATE).
 *
 *     SIZE   MEANING
 *     1..10  head of the entry: a blob, its size
 *     2      `78 9c`: zlib, a window of 32 KiB, default compression
 *     …      the chunks as they are kept (stored-chunk.ts), one behind the other
 *     2      `03 00`: a final block without anything in it
 *     4      Adler-32 of the blob, big-endian, combined from those of the chunks
 *
 * Example: the blob `hello`: `35 | 78 9c | 00 05 00 fa ff 68 65 6c 6c 6f | 03 00 | 06 2c 02 15`.
 */
import { formatEntryHeader } from "../../../pack/entry-header.js";
import { ADLER32_EMPTY, combineAdler32 } from "./adler32.js";
import type { Recipe, RecipeHead } from "./recipe.js";
import { FINAL_BLOCK } from "./stored-chunk.js";

/** Bytes to write as they are, or bytes [start, end) of a container to copy. */
export type EntrySegment = { readonly kind: "literal"; readonly bytes: Buffer } | ContainerSegment;

export interface ContainerSegment {
  readonly kind: "container";
  readonly key: string;
  readonly start: number;
  readonly end: number;
}

export interface SplicedEntry {
  /** Chunks that stand one behind the other in a container are one segment. */
  readonly segments: readonly EntrySegment[];
  /** Of all segments together. */
  readonly sizeBytes: number;
}

const BLOB = 3;
const ZLIB_HEAD = Buffer.of(0x78, 0x9c);
export const SPLICE_TAIL_BYTES: number = FINAL_BLOCK.length + 4;

/** Bytes of the entry, without its pieces being read. */
export function splicedEntryBytes(recipe: Pick<RecipeHead, "sizeBytes" | "storedBytes">): number {
  return (
    formatEntryHeader(BLOB, recipe.sizeBytes).length +
    ZLIB_HEAD.length +
    recipe.storedBytes +
    SPLICE_TAIL_BYTES
  );
}

/** What is before the chunks in the entry. */
export function spliceHead(sizeBytes: number): Buffer {
  return Buffer.concat([formatEntryHeader(BLOB, sizeBytes), ZLIB_HEAD]);
}

/** What is behind them. */
export function spliceTail(chunks: Recipe["chunks"]): Buffer {
  let checksum = ADLER32_EMPTY;
  for (const { sizeBytes, adler32 } of chunks) checksum = combineAdler32(checksum, adler32, sizeBytes);
  const tail = Buffer.alloc(SPLICE_TAIL_BYTES);
  tail.set(FINAL_BLOCK);
  tail.writeUInt32BE(checksum, FINAL_BLOCK.length);
  return tail;
}

/** The chunks as they are kept. Those that stand one behind the other in a container are one segment. */
export function storedSegments({ chunks }: Pick<Recipe, "chunks">): readonly ContainerSegment[] {
  const segments: ContainerSegment[] = [];
  for (const { containerKey: key, offset: start, storedBytes } of chunks) {
    const end = start + storedBytes;
    const before = segments.at(-1);
    if (before?.key === key && before.end === start) segments[segments.length - 1] = { ...before, end };
    else segments.push({ kind: "container", key, start, end });
  }
  return segments;
}

export function spliceEntry(recipe: Recipe): SplicedEntry {
  const segments: readonly EntrySegment[] = [
    { kind: "literal", bytes: spliceHead(recipe.sizeBytes) },
    ...storedSegments(recipe),
    { kind: "literal", bytes: spliceTail(recipe.chunks) },
  ];
  return { segments, sizeBytes: splicedEntryBytes(recipe) };
}
