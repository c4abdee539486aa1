/** How many requests a process is at work on, so that the least busy one is chosen and nobody is cut off by a swap. */
import { setTimeout } from "node:timers/promises";

export interface RequestsAtWork {
  readonly count: number;
  /** @returns to be called when it has ended; a second call does nothing */
  begin(): () => void;
  /** Settles when there are none, the time is up, or the signal fires. */
  idle(forMs: number, signal?: AbortSignal): Promise<void>;
}

export function createRequestsAtWork(): RequestsAtWork {
  let count = 0;
  let waiting: (() => void)[] = [];
  return {
    get count() {
      return count;
    },
    begin() {
      count++;
      let isOver = false;
      return () => {
        if (isOver) return;
        isOver = true;
        if (--count > 0) return;
        const all = waiting;
        waiting = [];
        for (const done of all) done();
      };
    },
    async idle(forMs, signal) {
      if (count === 0) return;
      const over = new AbortController();
      const until = signal === undefined ? over.signal : AbortSignal.any([over.signal, signal]);
      const none = new Promise<void>((resolve) => waiting.push(resolve));
      const late = setTimeout(forMs, undefined, { signal: until }).catch(() => undefined);
      await Promise.race([none, late]);
      over.abort();
    },
  };
}
