/**
 * Objects of a repository: composed by a backend (`createObjectDatabase`), or opened in a worker thread from the
 * description of what a backend composed (`openObjectReader`).
 */
import { LRUCache } from "lru-cache";
import { openByteRange } from "../base/byte-range.js";
import { hashBytes, type ObjectFormat } from "../object/object-format.js";
import { CommitGraph } from "../pack/commit-graph.js";
import { MultiPackIndex } from "../pack/multi-pack-index.js";
import { Pack } from "../pack/pack.js";
import { PackIndex } from "../pack/pack-index.js";
import { createObjectDatabase } from "./composed-objects.js";
import type { ObjectReader, ObjectReaderDescriptor, PackDescriptor } from "./contracts/object-reader.js";
import {
  createBlockingLooseObjects,
  createNewPackFinder,
  readBitmapBlocking,
  readReverseIndexBlocking,
} from "./disk/blocking-objects.js";
import { openMultiPackBitmapBlocking } from "./disk/multi-pack-bitmap-file.js";

export {
  createObjectDatabase,
  type LooseObjects,
  type ObjectDatabase,
  type ObjectDatabaseOptions,
} from "./composed-objects.js";

/** Packs that this worker thread has opened before: their caches stay warm. */
const opened = new LRUCache<string, Pack>({
  maxSize: 128 * 1024 * 1024,
  sizeCalculation: ({ index, bytes }) =>
    index.bytes.byteLength + (bytes.describe().kind === "memory" ? bytes.sizeBytes : 0) + 1024,
});

/** Readers over many packs, whose tables take a while to build. */
const readers = new LRUCache<string, ObjectReader>({ max: 4 });
const MANY_PACKS = 16;

/**
 * Opens described objects in a worker thread, which then waits for the disk: every answer is there at once.
 * Valid while the snapshot or quarantine that was described is not released.
 */
export function openObjectReader(
  descriptor: ObjectReaderDescriptor,
  options: { readonly blocking: true },
): ObjectReader {
  const key = descriptor.packs.length > MANY_PACKS ? keyOfDescriptor(descriptor) : undefined;
  const known = key === undefined ? undefined : readers.get(key);
  if (known !== undefined) return known;
  const { objectFormat, looseDirectories, commitGraph } = descriptor;
  const packs = descriptor.packs.map((pack) => openPack(pack, objectFormat, options));
  const names = packs.map(({ name }) => name);
  const byKey = new Map(packs.map((pack) => [pack.key, pack]));
  const reader = createObjectDatabase({
    objectFormat,
    packs,
    covered: descriptor.multiPackIndexes?.map(({ bytes, packKeys, bitmapPath }) => {
      const index = MultiPackIndex.reopen(bytes, objectFormat);
      return {
        index,
        packs: packKeys.map((key) => (key === null ? undefined : byKey.get(key))),
        ...(bitmapPath === undefined
          ? {}
          : { bitmapPath, openBitmap: async () => openMultiPackBitmapBlocking(bitmapPath, index) }),
      };
    }),
    loose: looseDirectories.length === 0 ? undefined : createBlockingLooseObjects(looseDirectories),
    commitGraph: commitGraph.length === 0 ? undefined : CommitGraph.parse(commitGraph, objectFormat),
    commitGraphLayers: commitGraph,
    findNewPacks:
      looseDirectories.length === 0 ? undefined : createNewPackFinder(looseDirectories, objectFormat, names),
  });
  if (key !== undefined) readers.set(key, reader);
  return reader;
}

function keyOfDescriptor({
  objectFormat,
  packs,
  looseDirectories,
  commitGraph,
  multiPackIndexes = [],
}: ObjectReaderDescriptor): string {
  // The last bytes of these files are their checksums.
  const checksums = [...commitGraph, ...multiPackIndexes.map(({ bytes }) => bytes)].map((file) =>
    Buffer.from(file).subarray(-hashBytes(objectFormat)).toString("hex"),
  );
  return [objectFormat, ...packs.map(keyOfPack), "", ...looseDirectories, "", ...checksums].join("\n");
}

/** A descriptor's number is part of it: the same pack may have been closed and opened again since. */
function keyOfPack({ key, bytes, bitmapPath = "" }: PackDescriptor): string {
  return bytes.kind !== "memory"
    ? `${key}:${bytes.fd}:${bytes.cacheKey}:${bitmapPath}`
    : `${key}:${bitmapPath}`;
}

function openPack(
  descriptor: PackDescriptor,
  objectFormat: ObjectFormat,
  options: { readonly blocking: true },
): Pack {
  const { key, name, index, bytes, beside, bitmapPath, reverseIndexPath } = descriptor;
  const cacheKey = keyOfPack(descriptor);
  const known = opened.get(cacheKey);
  if (known !== undefined) return known;
  const parsed = PackIndex.parse(index, objectFormat);
  const pack = new Pack({
    key,
    name,
    index: parsed,
    bytes: openByteRange(bytes, options),
    beside,
    ...(bitmapPath === undefined ? {} : { openBitmap: async () => readBitmapBlocking(bitmapPath, parsed) }),
    ...(reverseIndexPath === undefined
      ? {}
      : { readReverseIndex: () => readReverseIndexBlocking(reverseIndexPath, parsed) }),
  });
  opened.set(cacheKey, pack);
  return pack;
}
