/**
 * Plans of packs, kept by what was asked: a second identical clone walks and hashes nothing, and identical requests
 * that arrive together share one computation. Bounded in bytes, shared by the process. Holds no file open.
 */
import { LRUCache } from "lru-cache";
import { abortedError } from "../base/errors.js";
import { type PlanData, planDataBytes } from "./fetch/plan-data.js";

export interface CachedPlan {
  readonly data: PlanData;
  /** The pack's checksum, once it is known: from the plan, or from the first time it was streamed. */
  trailer: string | undefined;
}

export interface PlanCache {
  /**
   * The plan under a key; `make` is called when it is neither there nor being made. `make` must stop when `signal`
   * fires.
   * @throws base/aborted, and what `make` throws
   */
  get(key: string, signal: AbortSignal | undefined, make: () => Promise<PlanData>): Promise<CachedPlan>;
  clear(): void;
}

interface Flight {
  readonly promise: Promise<CachedPlan>;
  /** The one whose snapshot it reads has left. */
  abandoned: boolean;
}

/** @param options.bytesMax plans larger than a quarter of it are used but not kept @default 64 MiB */
export function createPlanCache(options: { readonly bytesMax?: number } = {}): PlanCache {
  const bytesMax = options.bytesMax ?? 64 * 1024 * 1024;
  const kept = new LRUCache<string, CachedPlan>({
    maxSize: bytesMax,
    maxEntrySize: Math.max(1, Math.floor(bytesMax / 4)),
    sizeCalculation: (plan) => planDataBytes(plan.data),
  });
  const flights = new Map<string, Flight>();

  const lead = async (
    key: string,
    signal: AbortSignal | undefined,
    make: () => Promise<PlanData>,
  ): Promise<CachedPlan> => {
    const promise = make().then((data) => {
      const plan: CachedPlan = { data, trailer: data.trailer };
      kept.set(key, plan);
      return plan;
    });
    const flight: Flight = { promise, abandoned: false };
    flights.set(key, flight);
    const end = (): void => {
      if (flights.get(key) === flight) flights.delete(key);
    };
    const abandon = (): void => {
      flight.abandoned = true;
      end();
    };
    signal?.addEventListener("abort", abandon, { once: true });
    try {
      // To the end even when aborted: until then it may read from the snapshot that the caller is about to release.
      return await promise;
    } finally {
      signal?.removeEventListener("abort", abandon);
      end();
    }
  };

  return {
    async get(key, signal, make) {
      for (;;) {
        if (signal?.aborted) throw abortedError(signal);
        const ready = kept.get(key);
        if (ready !== undefined) return ready;
        const flight = flights.get(key);
        if (flight === undefined) return lead(key, signal, make);
        try {
          return await leaveable(flight.promise, signal);
        } catch (error) {
          // When the one who computed has left, the next in line computes, from its own snapshot.
          if (!flight.abandoned || signal?.aborted) throw error;
        }
      }
    },
    clear() {
      kept.clear();
    },
  };
}

/** The promise, or the abort, whichever is first. */
function leaveable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  return new Promise<T>((resolve, reject) => {
    const leave = (): void => reject(abortedError(signal));
    signal.addEventListener("abort", leave, { once: true });
    const done = (): void => signal.removeEventListener("abort", leave);
    promise.then(
      (value) => {
        done();
        resolve(value);
      },
      (error: unknown) => {
        done();
        reject(error);
      },
    );
  });
}
