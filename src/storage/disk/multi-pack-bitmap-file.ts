/**
 * The bitmaps of a multi-pack-index, `objects/pack/multi-pack-index-<its checksum>.bitmap`. Their name says what they belong
 * to, so what a thread has opened before it need not open again. Bitmaps that cannot be read are none.
 */
import * as fs from "node:fs";
import { LRUCache } from "lru-cache";
import { PackBitmap } from "../../pack/bitmap.js";
import type { MultiPackIndex } from "../../pack/multi-pack-index.js";
import type { CoveredPacks } from "../pack-lookup.js";
import { MULTI_PACK_INDEX } from "./multi-pack-index-file.js";
import { readShared } from "./pack-file.js";

const OPENED_BYTES_MAX = 64 * 1024 * 1024;

const opened = new LRUCache<string, PackBitmap>({
  maxSize: OPENED_BYTES_MAX,
  sizeCalculation: ({ residentBytes }) => residentBytes,
});

/** Its name beside the multi-pack-index. @param checksum of the multi-pack-index */
export function multiPackBitmapName(checksum: string): string {
  return `${MULTI_PACK_INDEX}-${checksum}.bitmap`;
}

/** @param directory `objects/pack` */
export function multiPackBitmapOf(
  directory: string,
  index: MultiPackIndex,
): Pick<CoveredPacks, "bitmapPath" | "openBitmap"> {
  // Without an order of bits there is nothing that they could mean.
  if (!index.hasBitOrder) return {};
  const bitmapPath = `${directory}/${multiPackBitmapName(index.bitmapKey)}`;
  return { bitmapPath, openBitmap: () => openMultiPackBitmap(bitmapPath, index) };
}

async function openMultiPackBitmap(path: string, index: MultiPackIndex): Promise<PackBitmap | undefined> {
  const known = opened.get(path);
  if (known !== undefined) return known;
  try {
    return keep(path, Buffer.from(await readShared(path)), index);
  } catch {
    return undefined;
  }
}

/** The same in a worker thread, which waits for the disk. */
export function openMultiPackBitmapBlocking(path: string, index: MultiPackIndex): PackBitmap | undefined {
  const known = opened.get(path);
  if (known !== undefined) return known;
  try {
    return keep(path, fs.readFileSync(path), index);
  } catch {
    return undefined;
  }
}

function keep(path: string, bytes: Buffer, index: MultiPackIndex): PackBitmap {
  const bitmap = PackBitmap.parse(bytes, index);
  opened.set(path, bitmap);
  return bitmap;
}
