/**
 * Makes multi-pack-indexes and their bitmaps in a worker thread: see `make-multi-pack-index.ts`.
 *
 * The pack that is preferred, of which every object is listed and has the first bits, is the largest, as with
 * `git repack --geometric --write-midx`: gits before 2.44 send bytes as they are stored from no other one.
 */
import type { ObjectId } from "../../object/object-id.js";
import { MultiPackIndex } from "../../pack/multi-pack-index.js";
import { formatMultiPackIndex, type ListedPack } from "../../pack/multi-pack-index-writer.js";
import type { ObjectReaderDescriptor } from "../../storage/contracts/object-reader.js";
import { openObjectReader } from "../../storage/object-database.js";
import { unlimitedBudget } from "../fetch/work-budget.js";
import { buildMultiPackBitmap, type PackBitmapOutcome } from "./build-pack-bitmap.js";

export interface MultiPackIndexTask {
  /** The packs that are to be listed, and nothing else. */
  readonly objects: ObjectReaderDescriptor;
  /** When each of them was written. */
  readonly modifiedSeconds: readonly number[];
  /** undefined: no bitmaps are wanted. */
  readonly tips: readonly ObjectId[] | undefined;
}

export interface MadeMultiPackIndex {
  readonly bytes: SharedArrayBuffer;
  readonly objectCount: number;
  /** Its own, by which its bitmaps are named, hexadecimal. */
  readonly checksum: string;
  /** undefined: none were wanted. Without bitmaps it has no order of bits. */
  readonly bitmap: PackBitmapOutcome | undefined;
}

export default async function makeInWorker(task: MultiPackIndexTask): Promise<MadeMultiPackIndex> {
  const { tips } = task;
  const objects = openObjectReader(task.objects, { blocking: true });
  const { objectFormat } = objects;
  const packs = objects.packs.map(
    ({ name, index }, i): ListedPack => ({ name, index, modifiedSeconds: task.modifiedSeconds[i] as number }),
  );
  let bitmap: PackBitmapOutcome | undefined;
  if (tips !== undefined) {
    const bytes = formatMultiPackIndex({ objectFormat, packs, preferred: largestOf(packs) });
    const index = MultiPackIndex.reopen(bytes, objectFormat);
    bitmap = await buildMultiPackBitmap(objects, index, tips, unlimitedBudget());
    if (bitmap.kind === "made") return describe(index, bitmap);
  }
  return describe(MultiPackIndex.reopen(formatMultiPackIndex({ objectFormat, packs }), objectFormat), bitmap);
}

function describe(index: MultiPackIndex, bitmap: PackBitmapOutcome | undefined): MadeMultiPackIndex {
  const { bytes, objectCount, bitmapKey } = index;
  return { bytes, objectCount, checksum: bitmapKey, bitmap };
}

/** Of equally large ones the first by name. */
function largestOf(packs: readonly ListedPack[]): ListedPack {
  let largest = packs[0] as ListedPack;
  for (const pack of packs) {
    const more = pack.index.objectCount - largest.index.objectCount;
    if (more > 0 || (more === 0 && pack.name < largest.name)) largest = pack;
  }
  return largest;
}
