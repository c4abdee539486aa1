/** Counts by key in windows of time, in this process's memory, for a bounded number of keys. */
import { LRUCache } from "lru-cache";
import { RateLimiterMemory } from "rate-limiter-flexible";
import type { Rate } from "./rates.js";

export interface RateCounter {
  /** Counts. @returns undefined, or the seconds to wait when there is no room */
  take(key: string, points?: number): Promise<number | undefined>;
  /** As `take`, without counting: is there room for one more? */
  look(key: string): Promise<number | undefined>;
}

/** The one that was not seen for longest is forgotten: a crowd of addresses costs memory no more than this. */
const KEYS_MAX = 50_000;

export function createRateCounter({ max, seconds }: Rate, keysMax = KEYS_MAX): RateCounter {
  if (max === Infinity) return { take: async () => undefined, look: async () => undefined };
  // Points are compared here, so that what is too much is an answer and no error.
  const limiter = new RateLimiterMemory({ points: max, duration: seconds });
  const known = new LRUCache<string, true>({
    max: keysMax,
    dispose: (_, key, reason) => {
      if (reason === "evict") void limiter.delete(key);
    },
  });
  return {
    async take(key, points = 1) {
      known.set(key, true);
      const { consumedPoints, msBeforeNext } = await limiter.penalty(key, points);
      return consumedPoints > max ? secondsOf(msBeforeNext) : undefined;
    },
    async look(key) {
      const found = await limiter.get(key);
      if (max === 0) return seconds;
      return found !== null && found.consumedPoints >= max ? secondsOf(found.msBeforeNext) : undefined;
    },
  };
}

function secondsOf(ms: number): number {
  return Math.max(1, Math.ceil(ms / 1000));
}
