/**
 * What the checks of recent pushes have shown about their packs, by repository: for backends that do not keep it with
 * the pack. Forgotten when the process ends, and when there are many newer ones; then packs are planned as ever.
 */
import { LRUCache } from "lru-cache";
import { cacheOfProcess } from "../../base/process-caches.js";
import type { Pack } from "../../pack/pack.js";
import type { RecordedPush } from "../../pack/recorded-push.js";

const PUSHES_MAX = 4096;
const known = cacheOfProcess(new LRUCache<string, RecordedPush>({ max: PUSHES_MAX }));

export function rememberPush(repositoryId: string, pack: Pack, record: RecordedPush): void {
  known.set(nameOf(repositoryId, pack), record);
}

/** @param repositoryId undefined: only what is kept with the pack */
export function recordedPushOf(repositoryId: string | undefined, pack: Pack): RecordedPush | undefined {
  if (pack.recordedPush !== undefined || repositoryId === undefined) return pack.recordedPush;
  return known.get(nameOf(repositoryId, pack));
}

/** A pack has another key once it is published; within a repository the hash at its end is its name. */
function nameOf(repositoryId: string, { index, bytes }: Pack): string {
  return `${repositoryId} ${index.packTrailer} ${index.objectCount} ${bytes.sizeBytes}`;
}
