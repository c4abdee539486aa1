/**
 * Counts by key in windows of time, in this process's memory, for a bounded number of keys; or in a place that several
 * servers share, and in memory while that cannot be had.
 */
import { LRUCache } from "lru-cache";
import { RateLimiterMemory } from "./rate-limiters.js";
import type { Rate } from "./rates.js";
import type { SharedCounter } from "./shared-rates.js";

export interface RateCounter {
  /** Counts. @returns undefined, or the seconds to wait when there is no room */
  take(key: string, points?: number): Promise<number | undefined>;
  /** As `take`, without counting: is there room for one more? */
  look(key: string): Promise<number | undefined>;
}

/** The one that was not seen for longest is forgotten: a crowd of addresses costs memory no more than this. */
const KEYS_MAX = 50_000;

export interface RateCounterOptions {
  readonly keysMax?: number;
  readonly shared?: SharedCounter | undefined;
  readonly onFailure?: (error: unknown) => void;
}

export function createRateCounter({ max, seconds }: Rate, options: RateCounterOptions = {}): RateCounter {
  const { keysMax = KEYS_MAX, shared, onFailure } = options;
  if (max === Infinity) return { take: async () => undefined, look: async () => undefined };
  // Points are compared here, so that what is too much is an answer and no error.
  const limiter = new RateLimiterMemory({ points: max, duration: seconds });
  const known = new LRUCache<string, true>({
    max: keysMax,
    dispose: (_, key, reason) => {
      if (reason === "evict") void limiter.delete(key);
    },
  });
  const orInMemory = async <T>(
    ask: (from: SharedCounter) => Promise<T>,
    here: () => Promise<T>,
  ): Promise<T> => {
    if (shared === undefined) return here();
    try {
      return await ask(shared);
    } catch (error) {
      onFailure?.(error);
      return here();
    }
  };
  /** Until when; who is refused must not cost a question each time. */
  const refused = new LRUCache<string, number>({ max: keysMax });
  const refusedFor = (key: string): number | undefined => {
    const until = refused.get(key);
    return until === undefined || until <= Date.now() ? undefined : secondsOf(until - Date.now());
  };
  const refuse = (key: string, ms: number): number => {
    if (shared !== undefined) refused.set(key, Date.now() + ms);
    return secondsOf(ms);
  };
  return {
    async take(key, points = 1) {
      const wait = refusedFor(key);
      if (wait !== undefined) return wait;
      const { consumedPoints, msBeforeNext } = await orInMemory(
        (from) => from.penalty(key, points),
        () => {
          known.set(key, true);
          return limiter.penalty(key, points);
        },
      );
      return consumedPoints > max ? refuse(key, msBeforeNext) : undefined;
    },
    async look(key) {
      const wait = refusedFor(key);
      if (wait !== undefined) return wait;
      const found = await orInMemory(
        (from) => from.get(key),
        () => limiter.get(key),
      );
      if (max === 0) return seconds;
      return found !== null && found.consumedPoints >= max ? refuse(key, found.msBeforeNext) : undefined;
    },
  };
}

function secondsOf(ms: number): number {
  return Math.max(1, Math.ceil(ms / 1000));
}
