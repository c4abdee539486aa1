/**
 * Makes the index over the packs of a repository, and its bitmaps, when they are missing or out of date, and has them kept.
 * Requests go on meanwhile. One pack needs none: it has its own.
 */
import { throwIfAborted } from "../../base/errors.js";
import type { ObjectId } from "../../object/object-id.js";
import type { Repository } from "../../storage/contracts/repository.js";
import type { MultiPackIndexWork } from "../../storage/contracts/multi-pack-index-store.js";
import { makeMultiPackIndex } from "./make-multi-pack-index.js";
import { bitmapTipsOf } from "./refresh-side-files.js";

export type MultiPackIndexOutcome =
  | {
      readonly kind: "written";
      readonly packCount: number;
      readonly objectCount: number;
      readonly sizeBytes: number;
      readonly bitmap:
        | { readonly kind: "made"; readonly commitCount: number; readonly sizeBytes: number }
        | { readonly kind: "impossible"; readonly why: string };
    }
  /** It was of packs most of which have gone. */
  | { readonly kind: "removed" }
  | { readonly kind: "nothing to do" }
  /** Another process is at work, or was quicker. */
  | { readonly kind: "left to others" }
  /** The repository, or its configuration, does not allow one. */
  | { readonly kind: "impossible"; readonly why: string };

interface Options {
  readonly signal?: AbortSignal | undefined;
}

/** @throws object/corrupt, pack/bad-index, storage/io, storage/not-found, base/aborted */
export async function refreshMultiPackIndex(
  repository: Repository,
  options: Options = {},
): Promise<MultiPackIndexOutcome> {
  const { multiPackIndex } = repository;
  if (multiPackIndex === undefined) return { kind: "nothing to do" };
  if (!(await repository.settings()).sideFiles.multiPackIndex)
    return { kind: "impossible", why: "core.multiPackIndex is false" };
  throwIfAborted(options.signal);
  const work = await multiPackIndex.begin();
  if (work === undefined) return { kind: "left to others" };
  try {
    return await refresh(repository, work, options);
  } finally {
    await work.release();
  }
}

async function refresh(
  repository: Repository,
  work: MultiPackIndexWork,
  { signal }: Options,
): Promise<MultiPackIndexOutcome> {
  const { hindrance, current, packs } = work;
  if (hindrance !== undefined) return { kind: "impossible", why: hindrance };
  if (packs.length < 2) {
    if (current === undefined || current.listsAll) return { kind: "nothing to do" };
    return { kind: (await work.remove()) ? "removed" : "left to others" };
  }
  const tips = await tipsFor(repository, work);
  if (current?.listsAll === true && (current.hasBitmap || typeof tips === "string"))
    return { kind: "nothing to do" };
  const made = await makeMultiPackIndex(packs, {
    signal,
    tips: typeof tips === "string" ? undefined : tips,
  });
  throwIfAborted(signal);
  const { bytes, checksum, objectCount, bitmap } = made;
  const bitmapBytes = bitmap?.kind === "made" ? bitmap.bytes : undefined;
  if (current?.listsAll === true && bitmapBytes === undefined) return { kind: "nothing to do" };
  if (!(await work.write({ bytes, checksum, bitmap: bitmapBytes }))) return { kind: "left to others" };
  return {
    kind: "written",
    packCount: packs.length,
    objectCount,
    sizeBytes: bytes.byteLength,
    bitmap:
      bitmap?.kind === "made"
        ? { kind: "made", commitCount: bitmap.commitCount, sizeBytes: bitmap.bytes.length }
        : { kind: "impossible", why: bitmap?.why ?? String(tips) },
  };
}

/** What its bitmaps are to be of, or why there are none. */
async function tipsFor(
  repository: Repository,
  { bitmapHindrance }: MultiPackIndexWork,
): Promise<readonly ObjectId[] | string> {
  if (bitmapHindrance !== undefined) return bitmapHindrance;
  const tipsOf = await bitmapTipsOf(repository);
  if (tipsOf === undefined) return "repack.writeBitmaps is false, or not set where there is a work tree";
  const tips = await tipsOf();
  return tips.length === 0 ? "the repository is shallow, or no ref names anything" : tips;
}
