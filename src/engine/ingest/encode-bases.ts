/**
 * Bases of the repository as entries of their own, to complete a thin pack (git's `--fix-thin`).
 */
import { crc32 } from "node:zlib";
import { GitwharfError } from "../../base/errors.js";
import { hashObject, type ObjectId } from "../../object/object-id.js";
import { objectTypeOf } from "../../pack/entry-header.js";
import { inflateAt } from "../../pack/inflate.js";
import { formatEntry } from "../../pack/pack-writer.js";
import { compressedBound } from "../../pack/packed-entry.js";
import type { GitObject, ObjectReader } from "../../storage/contracts/object-reader.js";
import type { EncodeAnswer } from "./ingest-task.js";

/** These entries are kept until the next repack: speed counts for more than size. */
const DEFLATE_LEVEL = 1;

/**
 * As many of the ids as give `bytesMax`, at least one.
 * @throws pack/missing-base when one has vanished, object/corrupt when the repository's copy is damaged
 */
export async function encodeBases(
  objects: ObjectReader,
  oids: readonly ObjectId[],
  bytesMax: number,
): Promise<EncodeAnswer> {
  const entries: Buffer[] = [];
  let bytes = 0;
  for (const oid of oids) {
    const entry = (await storedEntry(objects, oid)) ?? (await encodedEntry(objects, oid));
    entries.push(entry);
    bytes += entry.length;
    if (bytes >= bytesMax) break;
  }
  // A buffer of its own: a clone of a view across threads would carry all of its buffer.
  return {
    bytes: Uint8Array.from(Buffer.concat(entries)),
    sizes: entries.map((entry) => entry.length),
    crc32s: entries.map((entry) => crc32(entry)),
  };
}

/**
 * The entry of a pack as it is, where the object is no delta there: to deflate a large blob takes longer than all else about its push.
 * @returns undefined: there is none, or it is not what it should be, but another copy may be
 */
async function storedEntry(objects: ObjectReader, oid: ObjectId): Promise<Buffer | undefined> {
  const location = objects.locate(oid);
  if (location === undefined) return undefined;
  const { pack, position } = location;
  const offset = pack.index.offsetAt(position);
  try {
    const header = await pack.readEntryHeader(offset);
    const type = objectTypeOf(header.type);
    if (type === undefined) return undefined;
    const bytes = await pack.bytes.read(offset, header.headerLength + compressedBound(header.sizeBytes));
    const { data, consumed } = inflateAt(bytes, header.headerLength, header.sizeBytes);
    if (hashObject(objects.objectFormat, type, data) !== oid) return undefined;
    return bytes.subarray(0, header.headerLength + consumed);
  } catch {
    return undefined;
  }
}

async function encodedEntry(objects: ObjectReader, oid: ObjectId): Promise<Buffer> {
  const base = await objects.read(oid);
  if (base === undefined) throw missingBase(oid);
  return encodeBase(oid, base, objects);
}

/** @throws object/corrupt when the content does not fit the id: it must not be copied further */
export function encodeBase(
  oid: ObjectId,
  base: GitObject,
  { objectFormat }: Pick<ObjectReader, "objectFormat">,
): Buffer {
  if (hashObject(objectFormat, base.type, base.data) !== oid) {
    throw new GitwharfError(
      "object/corrupt",
      `object ${oid} of the repository does not fit its id; run 'gitwharf fsck'`,
    );
  }
  return formatEntry(base.type, base.data, DEFLATE_LEVEL);
}

export function missingBase(oid: ObjectId): GitwharfError {
  return new GitwharfError(
    "pack/missing-base",
    `object ${oid}, the base of a delta, is no longer in the repository`,
    {
      details: { oid },
    },
  );
}
