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
export type EntrySegment =
  | { readonly kind: "literal"; readonly bytes: Buffer }
  | { readonly kind: "container"; readonly key: string; readonly start: number; readonly end: number };

export interface SplicedEntry {
  /** Chunks that stand one behind the other in a container are one segment. */
  readonly segments: readonly EntrySegment[];
  /** Of all segments together. */
  readonly sizeBytes: number;
}

const BLOB = 3;
const ZLIB_HEAD = Buffer.of(0x78, 0x9c);
const TAIL_BYTES = FINAL_BLOCK.length + 4;

/** Bytes of the entry, without its pieces being read. */
export function splicedEntryBytes(recipe: Pick<RecipeHead, "sizeBytes" | "storedBytes">): number {
  return (
    formatEntryHeader(BLOB, recipe.sizeBytes).length + ZLIB_HEAD.length + recipe.storedBytes + TAIL_BYTES
  );
}

export function spliceEntry(recipe: Recipe): SplicedEntry {
  const head = Buffer.concat([formatEntryHeader(BLOB, recipe.sizeBytes), ZLIB_HEAD]);
  const segments: EntrySegment[] = [{ kind: "literal", bytes: head }];
  let checksum = ADLER32_EMPTY;
  for (const { containerKey: key, offset: start, storedBytes, sizeBytes, adler32 } of recipe.chunks) {
    const end = start + storedBytes;
    const before = segments.at(-1);
    if (before?.kind === "container" && before.key === key && before.end === start)
      segments[segments.length - 1] = { ...before, end };
    else segments.push({ kind: "container", key, start, end });
    checksum = combineAdler32(checksum, adler32, sizeBytes);
  }
  const tail = Buffer.alloc(TAIL_BYTES);
  tail.set(FINAL_BLOCK);
  tail.writeUInt32BE(checksum, FINAL_BLOCK.length);
  segments.push({ kind: "literal", bytes: tail });
  return { segments, sizeBytes: splicedEntryBytes(recipe) };
}
