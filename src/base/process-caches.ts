/**
 * Caches that are the process's (or the thread's) and no server's: of what never changes, by names that mean the same everywhere.
 * Each is bounded by itself; here all are emptied at once, for tests that share a process and are to find nothing known.
 */
interface Emptied {
  clear(): void;
}

const caches: Emptied[] = [];

export function cacheOfProcess<Cache extends Emptied>(cache: Cache): Cache {
  caches.push(cache);
  return cache;
}

export function emptyProcessCaches(): void {
  for (const cache of caches) cache.clear();
}
