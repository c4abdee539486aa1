/**
 * Bases of the repository as entries of their own, to complete a thin pack (git's `--fix-thin`).
 */
import { crc32 } from "node:zlib";
import { GitwharfError } from "../../base/errors.js";
import { hashObject, type ObjectId } from "../../object/object-id.js";
import { formatEntry } from "../../pack/pack-writer.js";
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
    const base = await objects.read(oid);
    if (base === undefined) throw missingBase(oid);
    const entry = encodeBase(oid, base, objects);
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
