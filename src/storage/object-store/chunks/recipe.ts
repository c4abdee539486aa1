/**
 * How a large blob is made of chunks: the value of its object id in the tree of chunks, and for long ones nodes of their own that
 * versions of a blob share.
 *
 *     OFFSET  SIZE    MEANING
 *     0       1       1 the chunks follow, 2 they stand in pieces
 *     1       varint  bytes of the blob
 *     …       varint  bytes of all its chunks as they are kept
 *     …       …       1: a list of chunks, to the end
 *                     2: varint, how many pieces; their ids (32 bytes each). A piece is a node: `gwc1` and a list of chunks
 *
 *     a list of chunks
 *     …       varint  how many containers
 *     …       text    their keys in the bucket, ascending; each is used
 *     …       varint  how many chunks, at least 1
 *     …       chunks in order:
 *             32      id: SHA-256 of its bytes
 *             varint  which container, from 0
 *             varint  where in it the kept chunk begins
 *             varint  how many bytes that has
 *             varint  how many bytes the chunk has
 *             4       its Adler-32, big-endian
 *
 * Up to 64 chunks stand in the value itself. Of more, a piece ends behind 512 chunks, or behind 32 or more with a chunk whose id begins
 * with a byte below 2: a change in the blob is a change of one piece or two.
 *
 * Example: `01 05 0a | 01 03 63 2f 31 | 01 | 2c f2 4d … 98 24 | 00 00 0a 05 | 06 2c 02 15` is the blob `hello` in one chunk at the beginning of
 * the container `c/1`, as stored-chunk.ts keeps it.
 */
import { invariant } from "../../../base/errors.js";
import { type MaybePromise, isPromise } from "../../../base/maybe-promise.js";
import { CanonicalReader, CanonicalWriter, corrupt } from "../tree/canonical-bytes.js";
import {
  checkNode,
  type FreshNodes,
  NODE_ID_BYTES,
  type NodeId,
  nodeIdOf,
  type NodeReader,
} from "../tree/node.js";
import { VALUE_BYTES_MAX } from "../tree/node-boundary.js";
import { CHUNK_BYTES_MAX } from "./chunk-boundary.js";
import { STORED_CHUNK_BYTES_MAX } from "./stored-chunk.js";

export interface RecipeChunk {
  readonly id: string;
  readonly containerKey: string;
  /** Of the kept chunk in its container. */
  readonly offset: number;
  readonly storedBytes: number;
  readonly sizeBytes: number;
  readonly adler32: number;
}

export interface Recipe {
  /** Of the blob. */
  readonly sizeBytes: number;
  /** Of all chunks as they are kept. */
  readonly storedBytes: number;
  /** At least one. */
  readonly chunks: readonly RecipeChunk[];
}

/** What a value says by itself. */
export interface RecipeHead {
  readonly sizeBytes: number;
  readonly storedBytes: number;
  /** Nodes that the recipe needs. */
  readonly pieces: readonly NodeId[];
}

const PIECE_TYPE = "gwc1";
const INLINE = 1;
const IN_PIECES = 2;
const INLINE_CHUNKS_MAX = 64;
const PIECE_CHUNKS_MIN = 32;
const PIECE_CHUNKS_MAX = 512;
const PIECE_END_BELOW = "02";
const PIECES_MAX = 2000;
const CONTAINER_KEY_BYTES_MAX = 1024;
const CONTAINERS_MAX = PIECE_CHUNKS_MAX;
const OFFSET_MAX = 2 ** 40;
const WHAT = "a recipe";

/** @returns undefined when the blob has more chunks than a recipe takes: it must be kept otherwise */
export function formatRecipe(
  recipe: Recipe,
): { readonly value: Buffer; readonly nodes: FreshNodes } | undefined {
  invariant(recipe.chunks.length > 0, "a recipe has no chunks");
  const writer = new CanonicalWriter(4096);
  const nodes = new Map<NodeId, Buffer>();
  const isInline = recipe.chunks.length <= INLINE_CHUNKS_MAX;
  writer.u8(isInline ? INLINE : IN_PIECES);
  writer.varint(recipe.sizeBytes);
  writer.varint(recipe.storedBytes);
  if (isInline) writeChunks(writer, recipe.chunks);
  else {
    const pieces = cutIntoPieces(recipe.chunks).map((chunks) => {
      const piece = new CanonicalWriter(64 * 1024);
      piece.type(PIECE_TYPE);
      writeChunks(piece, chunks);
      const bytes = piece.take();
      nodes.set(nodeIdOf(bytes), bytes);
      return nodeIdOf(bytes);
    });
    if (pieces.length > PIECES_MAX) return undefined;
    writer.varint(pieces.length);
    for (const id of pieces) writer.hex(id);
  }
  // 64 chunks in as many containers with long names are too many bytes for an entry of a tree.
  return writer.length > VALUE_BYTES_MAX ? undefined : { value: writer.take(), nodes };
}

function cutIntoPieces(chunks: readonly RecipeChunk[]): readonly (readonly RecipeChunk[])[] {
  const pieces: (readonly RecipeChunk[])[] = [];
  let start = 0;
  chunks.forEach(({ id }, i) => {
    const length = i + 1 - start;
    const ends = length === PIECE_CHUNKS_MAX || (length >= PIECE_CHUNKS_MIN && id < PIECE_END_BELOW);
    if (!ends && i < chunks.length - 1) return;
    pieces.push(chunks.slice(start, i + 1));
    start = i + 1;
  });
  return pieces;
}

function writeChunks(writer: CanonicalWriter, chunks: readonly RecipeChunk[]): void {
  const keys = [...new Set(chunks.map(({ containerKey }) => containerKey))].sort();
  const numbers = new Map(keys.map((key, i) => [key, i]));
  writer.varint(keys.length);
  for (const key of keys) writer.text(key);
  writer.varint(chunks.length);
  for (const chunk of chunks) {
    writer.hex(chunk.id);
    writer.varint(numbers.get(chunk.containerKey) as number);
    writer.varint(chunk.offset);
    writer.varint(chunk.storedBytes);
    writer.varint(chunk.sizeBytes);
    writer.u32(chunk.adler32);
  }
}

function readChunks(reader: CanonicalReader, chunksMax: number): readonly RecipeChunk[] {
  const keys: string[] = [];
  const keyCount = reader.varint(CONTAINERS_MAX);
  for (let i = 0; i < keyCount; i++) {
    const key = reader.text(CONTAINER_KEY_BYTES_MAX);
    if (i > 0 && key <= (keys[i - 1] as string)) throw reader.bad("its containers are not in order");
    keys.push(key);
  }
  const count = reader.varint(chunksMax);
  if (count === 0) throw reader.bad("it has no chunks");
  const used = new Set<string>();
  const chunks: RecipeChunk[] = [];
  for (let i = 0; i < count; i++) {
    const id = reader.hex(NODE_ID_BYTES);
    const containerKey = keys[reader.varint(CONTAINERS_MAX)];
    if (containerKey === undefined) throw reader.bad("a chunk is in no container");
    used.add(containerKey);
    const offset = reader.varint(OFFSET_MAX);
    const storedBytes = reader.varint(STORED_CHUNK_BYTES_MAX);
    const sizeBytes = reader.varint(CHUNK_BYTES_MAX);
    const adler32 = reader.u32();
    chunks.push({ id, containerKey, offset, storedBytes, sizeBytes, adler32 });
  }
  if (used.size < keys.length) throw reader.bad("a container has none of its chunks");
  reader.end();
  return chunks;
}

function openRecipe(value: Buffer): RecipeHead & { readonly chunks: readonly RecipeChunk[] } {
  const reader = new CanonicalReader(value, WHAT);
  const form = reader.u8();
  const sizeBytes = reader.varint(Number.MAX_SAFE_INTEGER);
  const storedBytes = reader.varint(Number.MAX_SAFE_INTEGER);
  if (form === INLINE)
    return { sizeBytes, storedBytes, pieces: [], chunks: readChunks(reader, INLINE_CHUNKS_MAX) };
  if (form !== IN_PIECES) throw reader.bad(`it is of form ${form}`);
  const pieces: NodeId[] = [];
  const count = reader.varint(PIECES_MAX);
  if (count === 0) throw reader.bad("it has no chunks");
  for (let i = 0; i < count; i++) pieces.push(reader.hex(NODE_ID_BYTES));
  reader.end();
  return { sizeBytes, storedBytes, pieces, chunks: [] };
}

/** Without its pieces: to plan, to mark what is needed. @throws storage/corrupt */
export function recipeHead(value: Buffer): RecipeHead {
  const { sizeBytes, storedBytes, pieces } = openRecipe(value);
  return { sizeBytes, storedBytes, pieces };
}

/** In one round trip at most. @throws storage/corrupt, storage/io */
export function readRecipe(reader: NodeReader, value: Buffer): MaybePromise<Recipe> {
  const { sizeBytes, storedBytes, pieces, chunks } = openRecipe(value);
  if (pieces.length === 0) return checkedRecipe({ sizeBytes, storedBytes, chunks });
  const join = (all: readonly Buffer[]): Recipe =>
    checkedRecipe({
      sizeBytes,
      storedBytes,
      chunks: pieces.flatMap((id, i) => {
        const piece = new CanonicalReader(checkNode(id, all[i]), `a piece of a recipe (${id})`);
        piece.type(PIECE_TYPE);
        return readChunks(piece, PIECE_CHUNKS_MAX);
      }),
    });
  const read = reader.read(pieces);
  return isPromise(read) ? read.then(join) : join(read);
}

function checkedRecipe(recipe: Recipe): Recipe {
  let sizeBytes = 0;
  let storedBytes = 0;
  for (const chunk of recipe.chunks) {
    sizeBytes += chunk.sizeBytes;
    storedBytes += chunk.storedBytes;
  }
  if (sizeBytes !== recipe.sizeBytes || storedBytes !== recipe.storedBytes)
    throw corrupt(WHAT, "its chunks are of another size than itself");
  return recipe;
}
