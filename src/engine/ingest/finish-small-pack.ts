/** A small pack that has arrived: deltas resolved, namesakes compared, completed if it is thin, indexed. */
import { crc32 } from "node:zlib";
import { createObjectHash, hashBytes } from "../../object/object-format.js";
import { formatPackIndex } from "../../pack/pack-index-writer.js";
import { formatPackHeader } from "../../pack/pack-writer.js";
import type { PackSink } from "../../storage/contracts/quarantine.js";
import { encodeBase } from "./encode-bases.js";
import { findDuplicates } from "./index-pack.js";
import type { IngestRequest, IngestResult } from "./ingest-pack.js";
import { resolvedText, unpackedText } from "./ingest-progress.js";
import { type Kind, LinkSet } from "./link-set.js";
import { externalLinks, rootsAmong } from "./new-object-links.js";
import { duplicateError, unresolvedError } from "./pack-errors.js";
import type { SmallPack } from "./small-pack.js";
import { checkSpecialBlobs } from "./special-blobs.js";

/** @returns undefined when a base of the repository is too large for this way */
export async function finishSmallPack(
  pack: SmallPack,
  sentTrailer: string,
  sink: PackSink,
  request: IngestRequest,
): Promise<IngestResult | undefined> {
  const { objects, objectFormat, limits, quarantine, fsck, onProgress } = request;
  if (!(await pack.resolve(objects))) return undefined;
  const { count: unresolved, baseOid } = pack.unresolved;
  if (unresolved > 0) throw unresolvedError(unresolved, baseOid);
  if (pack.inflatedBytes > limits.inflatedTotalBytesMax) return undefined;
  await pack.compareWithExisting(objects);
  const { deltaCount, externals, count } = pack;
  onProgress?.(deltaCount > 0 ? resolvedText(deltaCount, externals.length) : unpackedText(count));

  const h = hashBytes(objectFormat);
  const own = new LinkSet(h);
  const kinds: Kind[] = [];
  for (let i = 0; i < count; i++) {
    const before = own.size;
    own.add(pack.oids, i * h, pack.kindAt(i));
    if (own.size > before) kinds.push(pack.kindAt(i));
  }
  const examined = pack.takeExamined();
  const referred = new Uint8Array(own.size);
  const kindOf = (raw: Uint8Array, at: number): Kind | undefined => {
    const member = own.find(raw, at);
    if (member >= 0) referred[member] = 1;
    return kinds[member];
  };
  const external = externalLinks([examined.links], kindOf, objectFormat);
  const roots = rootsAmong(referred, Buffer.from(own.oids), objectFormat);

  const { trailer, oids, offsets, crc32s } = await complete(pack, sentTrailer, sink, request);
  const { bytes, order } = formatPackIndex({ objectFormat, oids, offsets, crc32s, packTrailer: trailer });
  const [duplicate] = findDuplicates(oids, order, h);
  if (duplicate !== undefined) throw duplicateError(oids.toString("hex", duplicate * h, (duplicate + 1) * h));
  // No reverse index: for a pack of this size it is made in memory faster than a file is synced.
  const finished = await sink.finish({ trailer, index: bytes });
  const bases = externals.map(({ oid }) => oid);
  return {
    pack: finished,
    objectCount: count,
    links: { packKey: finished.key, bases, added: bases, external },
    sent: { count, deltaCount, endOffset: pack.nextOffset, roots },
    warnings:
      fsck === undefined
        ? []
        : await checkSpecialBlobs(quarantine.objects, [examined], { policy: fsck, signal: request.signal }),
  };
}

/** Adds the repository's bases to a thin pack. */
async function complete(
  pack: SmallPack,
  sentTrailer: string,
  sink: PackSink,
  { objectFormat, objects }: IngestRequest,
): Promise<{ trailer: string; oids: Buffer; offsets: number[]; crc32s: Uint32Array }> {
  const { externals, count, offsets, crc32s, nextOffset } = pack;
  if (externals.length === 0)
    return { trailer: sentTrailer, oids: pack.oids, offsets, crc32s: Uint32Array.from(crc32s) };
  const entries = externals.map((base) => encodeBase(base.oid, base, objects));
  let at = nextOffset;
  for (const entry of entries) {
    offsets.push(at);
    crc32s.push(crc32(entry));
    at += entry.length;
  }
  const head = formatPackHeader(count + externals.length).subarray(8);
  await sink.truncate(nextOffset);
  await sink.overwrite(8, head);
  const body = Buffer.concat(entries);
  await sink.append(body);
  const hash = createObjectHash(objectFormat);
  hash.update(await sink.range().read(0, at));
  const digest = hash.digest();
  await sink.append(digest);
  return {
    trailer: digest.toString("hex"),
    oids: Buffer.concat([pack.oids, ...externals.map(({ oid }) => Buffer.from(oid, "hex"))]),
    offsets,
    crc32s: Uint32Array.from(crc32s),
  };
}
