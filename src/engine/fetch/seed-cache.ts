/**
 * Reachable sets made lately, by the repository's largest pack: see `grow-seed.ts`. Shared by the process; bounded
 * in bytes.
 */
import { LRUCache } from "lru-cache";
import { cacheOfProcess } from "../../base/process-caches.js";
import type { ObjectReader } from "../../storage/contracts/object-reader.js";
import { packIdentity, type ReachableSet, reachableSetBytes } from "./reachable-set.js";

const BYTES_MAX = 64 * 1024 * 1024;
/** Callers who may see different refs lead to different sets. */
const SETS_A_REPOSITORY_MAX = 3;

const seeds = cacheOfProcess(
  new LRUCache<string, readonly ReachableSet[]>({
    maxSize: BYTES_MAX,
    sizeCalculation: (sets) => sets.reduce((sum, set) => sum + reachableSetBytes(set), 0),
  }),
);

/** Newest first. */
export function findSeeds(objects: ObjectReader): readonly ReachableSet[] {
  return seeds.get(largestPack(objects)) ?? [];
}

export function keepSeed(objects: ObjectReader, set: ReachableSet): void {
  const key = largestPack(objects);
  if (key === "") return;
  seeds.set(key, [set, ...(seeds.get(key) ?? [])].slice(0, SETS_A_REPOSITORY_MAX));
}

function largestPack(objects: ObjectReader): string {
  let largest = objects.packs[0];
  for (const pack of objects.packs) {
    if (largest === undefined || pack.index.objectCount > largest.index.objectCount) largest = pack;
  }
  return largest === undefined ? "" : packIdentity(largest);
}
