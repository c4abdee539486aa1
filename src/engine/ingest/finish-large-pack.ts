/** A large pack that has arrived and was scanned: deltas resolved, completed if it is thin, indexed; all in workers. */
import { formatPackHeader, PACK_HEADER_BYTES } from "../../pack/pack-writer.js";
import { entryTypeOf } from "../../pack/entry-header.js";
import type { ObjectId } from "../../object/object-id.js";
import type { PackSink } from "../../storage/contracts/quarantine.js";
import { missingBase } from "./encode-bases.js";
import type { IngestRequest, IngestResult } from "./ingest-pack.js";
import { resolvedText, resolvingText, unpackedText } from "./ingest-progress.js";
import type {
  EncodeAnswer,
  EncodeTask,
  IndexAnswer,
  IndexTask,
  SettleAnswer,
  SettleTask,
  TrailerAnswer,
  TrailerTask,
} from "./ingest-task.js";
import type { LargePack } from "./large-pack.js";
import type { LinkList } from "./object-examiner.js";
import { checkSpecialBlobs } from "./special-blobs.js";
import { duplicateError, unresolvedError } from "./pack-errors.js";

/** Entries for external bases come from the worker in pieces of this size. */
const ENCODE_BYTES_MAX = 4 * 1024 * 1024;

interface AddedEntries {
  readonly oids: Uint8Array;
  readonly offsets: number[];
  readonly crc32s: number[];
  readonly trailer: string;
}

export async function finishLargePack(
  pack: LargePack,
  sentTrailer: string,
  sink: PackSink,
  request: IngestRequest,
): Promise<IngestResult> {
  const { quarantine, fsck, onProgress } = request;
  const { deltaCount, count } = pack;
  let added: AddedEntries = { oids: new Uint8Array(0), offsets: [], crc32s: [], trailer: sentTrailer };
  let bases: readonly ObjectId[] = [];
  let missing: readonly ObjectId[] = [];
  if (deltaCount > 0) {
    const forest = await pack.resolve(sink.range().describe(), (resolved) =>
      onProgress?.(resolvingText(resolved, deltaCount)),
    );
    const task: SettleTask = { do: "settle", table: pack.table, forest };
    const settled = await pack.run<SettleAnswer>(task);
    if (settled.unresolvedCount > 0) throw unresolvedError(settled.unresolvedCount, settled.missingBaseOid);
    const externals = pack.externalOids(forest);
    bases = externals;
    missing = settled.missing.map((number) => externals[number] as ObjectId);
    if (missing.length > 0) added = await complete(pack, missing, sink);
    onProgress?.(resolvedText(deltaCount, missing.length));
  } else onProgress?.(unpackedText(count));

  const task: IndexTask = {
    do: "index",
    table: pack.table,
    count,
    added: { oids: added.oids, offsets: added.offsets, crc32s: added.crc32s },
    externalBases: await linksToBases(bases, request),
    links: pack.examined.map((part) => part.links),
    trailer: added.trailer,
    packSizeBytes: sink.sizeBytes,
  };
  const indexed = await pack.run<IndexAnswer>(task);
  if (indexed.duplicate !== undefined) throw duplicateError(indexed.duplicate);
  const finished = await sink.finish({
    trailer: added.trailer,
    index: indexed.index,
    reverseIndex: indexed.reverseIndex,
  });
  return {
    pack: finished,
    objectCount: count,
    links: { packKey: finished.key, bases, added: missing, external: indexed.external },
    sent: { count, deltaCount, endOffset: pack.nextOffset, roots: indexed.roots },
    warnings:
      fsck === undefined
        ? []
        : await checkSpecialBlobs(quarantine.objects, pack.examined, {
            policy: fsck,
            signal: request.signal,
          }),
  };
}

/** Adds the repository's bases to a thin pack. */
async function complete(pack: LargePack, bases: readonly ObjectId[], sink: PackSink): Promise<AddedEntries> {
  const context = { ...pack.context, spool: sink.range().describe() };
  const offsets: number[] = [];
  const crc32s: number[] = [];
  await sink.truncate(pack.nextOffset);
  for (let from = 0; from < bases.length; ) {
    const task: EncodeTask = {
      do: "encode",
      context,
      oids: bases.slice(from, from + 4096),
      bytesMax: ENCODE_BYTES_MAX,
    };
    const encoded = await pack.run<EncodeAnswer>(task);
    let at = sink.sizeBytes;
    await sink.append(encoded.bytes);
    for (const size of encoded.sizes) {
      offsets.push(at);
      at += size;
    }
    crc32s.push(...encoded.crc32s);
    from += encoded.sizes.length;
  }
  const head = Buffer.concat([
    (await sink.range().read(0, PACK_HEADER_BYTES)).subarray(0, 8),
    formatPackHeader(pack.count + bases.length).subarray(8),
  ]);
  await sink.overwrite(0, head);
  const task: TrailerTask = { do: "trailer", context: { ...context, spool: sink.range().describe() }, head };
  const trailer = await pack.run<TrailerAnswer>(task);
  await sink.append(Buffer.from(trailer, "hex"));
  return {
    oids: Uint8Array.from(Buffer.concat(bases.map((oid) => Buffer.from(oid, "hex")))),
    offsets,
    crc32s,
    trailer,
  };
}

/** The peer must have had a right to every base that it built on: they count as links. */
async function linksToBases(bases: readonly ObjectId[], { objects }: IngestRequest): Promise<LinkList> {
  const kinds: number[] = [];
  for (const oid of bases) {
    const header = await objects.readHeader(oid);
    if (header === undefined) throw missingBase(oid);
    kinds.push(1 << entryTypeOf(header.type));
  }
  return {
    oids: Uint8Array.from(Buffer.concat(bases.map((oid) => Buffer.from(oid, "hex")))),
    kinds: Uint8Array.from(kinds),
  };
}
