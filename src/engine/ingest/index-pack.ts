/**
 * The last step of a large pack: index, reverse index, and the links that lead out of it.
 */
import { hashBytes } from "../../object/object-format.js";
import { objectIdAt } from "../../object/object-id.js";
import { PackIndex } from "../../pack/pack-index.js";
import { formatPackIndex } from "../../pack/pack-index-writer.js";
import { formatReverseIndex } from "../../pack/reverse-index.js";
import type { IndexAnswer, IndexTask } from "./ingest-task.js";
import type { Kind } from "./link-set.js";
import { externalLinks, rootsAmong } from "./new-object-links.js";

/** @throws object/malformed when an object is referred to as something that it is not */
export function indexPack(task: IndexTask): IndexAnswer {
  const { table, count, added, trailer, packSizeBytes } = task;
  const { objectFormat } = table;
  const h = hashBytes(objectFormat);
  const total = count + added.offsets.length;
  const oids = Buffer.concat([table.oids.subarray(0, count * h), added.oids]);
  const offsets = new Float64Array(total);
  offsets.set(table.offsets.subarray(0, count));
  offsets.set(added.offsets, count);
  const crc32s = new Uint32Array(total);
  crc32s.set(table.crc32s.subarray(0, count));
  crc32s.set(added.crc32s, count);
  const { bytes, order } = formatPackIndex({ objectFormat, oids, offsets, crc32s, packTrailer: trailer });
  const index = PackIndex.parse(bytes, objectFormat);
  const referred = new Uint8Array(count);
  const kindOf = (raw: Uint8Array, at: number): Kind | undefined => {
    const position = index.findBytes(raw, at);
    const entry = position < 0 ? count : (order[position] as number);
    if (entry >= count) return undefined;
    // That a delta stands on it does not mean that who may have the delta may have it.
    if (raw !== task.externalBases.oids) referred[entry] = 1;
    return table.kinds[entry] as Kind;
  };
  const external = externalLinks([...task.links, task.externalBases], kindOf, objectFormat);
  const duplicates = findDuplicates(oids, order, h);
  const [duplicate] = duplicates;
  return {
    index: bytes,
    reverseIndex: formatReverseIndex(index, packSizeBytes),
    external,
    roots: rootsAmong(referred, oids, objectFormat),
    duplicate: duplicate === undefined ? undefined : objectIdAt(oids, duplicate * h, objectFormat),
  };
}

/**
 * Entries whose id another entry has, too.
 * @param order entries sorted by id
 */
export function findDuplicates(oids: Buffer, order: Uint32Array, h: number): number[] {
  const found: number[] = [];
  for (let i = 1; i < order.length; i++) {
    const before = (order[i - 1] as number) * h;
    const at = (order[i] as number) * h;
    let k = 0;
    while (k < h && oids[before + k] === oids[at + k]) k++;
    if (k === h) found.push(order[i] as number);
  }
  return found;
}
