/**
 * Reads events from a cursor, and waits for more. Whoever reads slowly is read for slowly: nothing is kept for it. What this
 * process tells wakes its readers at once; what others tell on the same database they find when they look.
 */
import type { EventStore } from "../database/event-store.js";
import { GitwharfError } from "../base/errors.js";
import { describeEvent, type RefEvent } from "./event.js";

export interface ReadEventsOptions {
  /** The cursor of the last event that is known. 0: from the first that is kept. @default what comes from now on */
  readonly after?: number;
  /** End when there are no more, rather than wait. @default false */
  readonly once?: boolean;
  /** Ends it. */
  readonly signal?: AbortSignal;
}

export interface EventTail {
  /** @throws database/unavailable, server/bad-configuration for a cursor that is none */
  read(options?: ReadEventsOptions): AsyncIterableIterator<RefEvent>;
  /** There are new ones. */
  wake(): void;
  /** Ends those that wait. */
  close(): void;
}

export interface EventTailOptions {
  readonly store: () => Promise<EventStore>;
  /** @default 1,000 */
  readonly lookEveryMs?: number;
}

const LOOK_EVERY_MS = 1000;
const EVENTS_AT_ONCE = 100;

export function createEventTail({ store, lookEveryMs = LOOK_EVERY_MS }: EventTailOptions): EventTail {
  const waiting = new Set<() => void>();
  let told = 0;
  let isClosed = false;

  const wake = (): void => {
    told++;
    for (const go of waiting) go();
  };

  async function* read(options: ReadEventsOptions = {}): AsyncIterableIterator<RefEvent> {
    const { once = false, signal } = options;
    checkCursor(options.after);
    let after = options.after ?? (await (await store()).lastCursor());
    const isOver = (): boolean => isClosed || signal?.aborted === true;
    while (!isOver()) {
      const before = told;
      const events = await (await store()).list(after, EVENTS_AT_ONCE);
      for (const event of events) {
        if (isOver()) return;
        yield describeEvent(event);
        after = event.cursor;
      }
      if (events.length > 0) continue;
      if (once) return;
      // What came while we looked may not have been found.
      if (told === before) await wait(signal);
    }
  }

  function wait(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const go = (): void => {
        waiting.delete(go);
        clearTimeout(timer);
        signal?.removeEventListener("abort", go);
        resolve();
      };
      const timer = setTimeout(go, lookEveryMs);
      waiting.add(go);
      signal?.addEventListener("abort", go, { once: true });
      if (isClosed || signal?.aborted === true) go();
    });
  }

  return {
    read,
    wake,
    close() {
      isClosed = true;
      wake();
    },
  };
}

/** @throws server/bad-configuration */
export function checkCursor(after: unknown): void {
  if (after === undefined || (Number.isSafeInteger(after) && Number(after) >= 0)) return;
  throw new GitwharfError("server/bad-configuration", "the cursor `after` is a whole number from 0 up");
}
