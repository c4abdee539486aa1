/**
 * Whether in a stored pack every base stands before the deltas on it, so that the pack may be sent as it is. Packs
 * that were completed after a push have their last bases at the end.
 */
import { LRUCache } from "lru-cache";
import { cacheOfProcess } from "../../base/process-caches.js";
import { GitwharfError } from "../../base/errors.js";
import { isPromise } from "../../base/maybe-promise.js";
import { parseEntryHeader, REF_DELTA } from "../../pack/entry-header.js";
import type { Pack } from "../../pack/pack.js";
import { packIdentity } from "./reachable-set.js";
import type { WorkBudget } from "./work-budget.js";

/** Answers by pack. A pack never changes. */
const known = cacheOfProcess(new LRUCache<string, boolean>({ max: 4096 }));
const WINDOW_BYTES = 1024 * 1024;
const HEAD_BYTES_MAX = 64;

/** Takes over an answer that another thread found. */
export function noteBasesFirst(identity: string, answer: boolean): void {
  known.set(identity, answer);
}

/** @throws object/corrupt, storage/io */
export async function hasBasesFirst(pack: Pack, budget: WorkBudget): Promise<boolean> {
  const identity = packIdentity(pack);
  let answer = known.get(identity);
  if (answer === undefined) {
    // Bitmaps stand beside packs that git wrote as a whole, bases first; ours beside no others.
    answer = (await pack.openBitmap()) !== undefined || (await scan(pack, budget));
    known.set(identity, answer);
  }
  return answer;
}

async function scan(pack: Pack, budget: WorkBudget): Promise<boolean> {
  const { offsets, index, bytes } = pack;
  let window: Buffer = Buffer.alloc(0);
  let windowStart = 0;
  for (let rank = 0; rank < index.objectCount; rank++) {
    if (budget.spend(0.05)) await budget.pause();
    const start = offsets.offsetAtRank(rank);
    if (start < windowStart || start + HEAD_BYTES_MAX > windowStart + window.length) {
      const read = bytes.read(start, WINDOW_BYTES);
      window = isPromise(read) ? await read : read;
      windowStart = start;
    }
    if ((((window[start - windowStart] ?? 0) >>> 4) & 7) !== REF_DELTA) continue;
    const head = parseEntryHeader(window, start - windowStart, pack.objectFormat);
    if (head === undefined) {
      throw new GitwharfError(
        "object/corrupt",
        `${pack.name} ends inside its entry at ${start}; run 'gitwharf fsck'`,
      );
    }
    const base = index.find(head.baseOid ?? "");
    if (base < 0 || index.offsetAt(base) >= start) return false;
  }
  return true;
}
