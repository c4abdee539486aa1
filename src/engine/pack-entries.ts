/**
 * Does a pack's index say where its entries are, all of them and nothing else? Every byte between head and trailer has to be
 * in exactly one entry and to have that entry's checksum. Whether the entries are the objects that the index says is seen by
 * reading them (`repository-fsck.ts`).
 */
import { crc32 } from "node:zlib";
import { throwIfAborted } from "../base/errors.js";
import { hashBytes } from "../object/object-format.js";
import type { Pack } from "../pack/pack.js";
import { PACK_HEADER_BYTES } from "../pack/pack-writer.js";

const READ_BYTES = 1024 * 1024;
const FINDINGS_MAX = 100;

/** @returns sentences; none: all is well. @throws storage/io, base/aborted */
export async function checkPackEntries(pack: Pack, signal?: AbortSignal): Promise<readonly string[]> {
  const { index, offsets, bytes } = pack;
  const findings: string[] = [];
  const count = index.objectCount;
  const end = bytes.sizeBytes - hashBytes(pack.objectFormat);
  const head = await bytes.read(0, PACK_HEADER_BYTES);
  if (head.toString("latin1", 0, 4) !== "PACK" || head.readUInt32BE(8) !== count)
    findings.push(`${pack.name}: the pack does not hold the ${count} objects that its index has`);
  const startOf = (rank: number): number =>
    rank < count ? index.offsetAt(offsets.positionAtRank(rank)) : end;
  if (startOf(0) !== PACK_HEADER_BYTES)
    findings.push(`${pack.name}: the index does not begin where the first entry does`);
  let window: Buffer = Buffer.alloc(0);
  let windowAt = 0;
  for (let rank = 0; rank < count && findings.length < FINDINGS_MAX; rank++) {
    const position = offsets.positionAtRank(rank);
    const stop = startOf(rank + 1);
    let sum = 0;
    for (let at = startOf(rank); at < stop; ) {
      if (at < windowAt || at >= windowAt + window.length) {
        throwIfAborted(signal);
        window = await bytes.read(at, Math.min(READ_BYTES, end - at));
        windowAt = at;
        if (window.length === 0) break;
      }
      const piece = window.subarray(at - windowAt, stop - windowAt);
      sum = crc32(piece, sum);
      at += piece.length;
    }
    const expected = index.crc32At(position);
    if (expected !== undefined && expected !== sum)
      findings.push(`${pack.name}: the entry of ${index.oidAt(position)} is not what the index says`);
  }
  return findings;
}
