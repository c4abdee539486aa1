/**
 * What is known about each entry of a pack under ingest, as columns in shared memory: the main thread and the
 * workers see the same table. About 50 bytes an entry, grown by what arrives and never by what the head claims.
 *
 *     COLUMN       MEANING
 *     offsets      where the entry begins; one more after the last: where the last one ends
 *     headLengths  bytes of the entry's head
 *     crc32s       of the packed bytes, head included
 *     types        as packed: 1 commit, 2 tree, 3 blob, 4 tag, 6 OFS_DELTA, 7 REF_DELTA
 *     sizes        inflated bytes of the entry: of the object, or of the delta
 *     resultSizes  inflated bytes of the object, deltas resolved
 *     bases        number of the entry that a delta builds on; `EXTERNAL + k`: the k-th base that the repository
 *                  holds; -1: none, or not known yet
 *     kinds        1 to 4, of the object; 0 until the entry is resolved
 *     clean        1: a tree in which fsck found nothing
 *     oids         raw id, once it is resolved
 */
import { hashBytes, type ObjectFormat } from "../../object/object-format.js";

/** Added to the number of an external base to tell it from an entry of the pack. */
export const EXTERNAL = 0x40000000;

export interface EntryTable {
  readonly objectFormat: ObjectFormat;
  readonly capacity: number;
  readonly offsets: Float64Array<SharedArrayBuffer>;
  readonly headLengths: Uint8Array<SharedArrayBuffer>;
  readonly crc32s: Uint32Array<SharedArrayBuffer>;
  readonly types: Uint8Array<SharedArrayBuffer>;
  readonly sizes: Uint32Array<SharedArrayBuffer>;
  readonly resultSizes: Uint32Array<SharedArrayBuffer>;
  readonly bases: Int32Array<SharedArrayBuffer>;
  readonly kinds: Uint8Array<SharedArrayBuffer>;
  readonly clean: Uint8Array<SharedArrayBuffer>;
  readonly oids: Uint8Array<SharedArrayBuffer>;
}

/** Sizes are kept in 32 bits: no object may be larger, whatever the limits say (nor may a Node buffer). */
export const OBJECT_SIZE_BYTES_MAX = 0xffffffff;

export function createEntryTable(objectFormat: ObjectFormat, capacity: number): EntryTable {
  return {
    objectFormat,
    capacity,
    offsets: new Float64Array(new SharedArrayBuffer((capacity + 1) * 8)),
    headLengths: new Uint8Array(new SharedArrayBuffer(capacity)),
    crc32s: new Uint32Array(new SharedArrayBuffer(capacity * 4)),
    types: new Uint8Array(new SharedArrayBuffer(capacity)),
    sizes: new Uint32Array(new SharedArrayBuffer(capacity * 4)),
    resultSizes: new Uint32Array(new SharedArrayBuffer(capacity * 4)),
    bases: new Int32Array(new SharedArrayBuffer(capacity * 4)),
    kinds: new Uint8Array(new SharedArrayBuffer(capacity)),
    clean: new Uint8Array(new SharedArrayBuffer(capacity)),
    oids: new Uint8Array(new SharedArrayBuffer(capacity * hashBytes(objectFormat))),
  };
}

/** The same rows in a table with room for `capacity`. */
export function growEntryTable(table: EntryTable, capacity: number): EntryTable {
  const grown = createEntryTable(table.objectFormat, capacity);
  grown.offsets.set(table.offsets);
  grown.headLengths.set(table.headLengths);
  grown.crc32s.set(table.crc32s);
  grown.types.set(table.types);
  grown.sizes.set(table.sizes);
  grown.resultSizes.set(table.resultSizes);
  grown.bases.set(table.bases);
  grown.kinds.set(table.kinds);
  grown.clean.set(table.clean);
  grown.oids.set(table.oids);
  return grown;
}

/** Number of the entry that begins at `offset`, among the first `count`; -1 when none does. */
export function entryAtOffset(table: EntryTable, count: number, offset: number): number {
  const { offsets } = table;
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((offsets[middle] as number) < offset) low = middle + 1;
    else high = middle;
  }
  return low < count && offsets[low] === offset ? low : -1;
}
