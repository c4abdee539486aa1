/**
 * Strangers may be refused as often as they like; the log may not grow as fast as they like: a full disk would stop
 * everybody's pushes. So many refusals of nobody known are written in a minute, per address and in all; the others are
 * counted. What signed-in users do is always written.
 */
import { LRUCache } from "lru-cache";

export interface RefusalMeter {
  /** May this one be written? @returns how many were left out before, once in a while */
  take(address: string | undefined): { readonly isWritten: boolean; readonly omitted: number };
  /** Those not told yet. */
  rest(): number;
}

export const REFUSALS_PER_ADDRESS = 30;
export const REFUSALS_IN_ALL = 600;
const MINUTE_MS = 60_000;
const ADDRESSES_MAX = 10_000;

export function createRefusalMeter(now: () => number = () => performance.now()): RefusalMeter {
  const perAddress = new LRUCache<string, { count: number }>({ max: ADDRESSES_MAX });
  let begun = now();
  let all = 0;
  let omitted = 0;
  let untold = 0;
  return {
    take(address = "") {
      if (now() - begun >= MINUTE_MS) {
        begun = now();
        all = 0;
        perAddress.clear();
        untold += omitted;
        omitted = 0;
      }
      const own = perAddress.get(address) ?? { count: 0 };
      perAddress.set(address, own);
      if (own.count >= REFUSALS_PER_ADDRESS || all >= REFUSALS_IN_ALL) {
        omitted++;
        return { isWritten: false, omitted: 0 };
      }
      own.count++;
      all++;
      const told = untold;
      untold = 0;
      return { isWritten: true, omitted: told };
    },
    rest() {
      const left = omitted + untold;
      omitted = 0;
      untold = 0;
      return left;
    },
  };
}
