/**
 * Work that every server has and that one of them does at a time, again and again: a lease sees to it that none follows another at once. It
 * goes on where the last one ended, whoever did that.
 */
import { keepLease } from "./keep-lease.js";
import type { LeaseStore } from "./metadata/lease-store.js";

export interface BackgroundWork {
  /** Of the lease. */
  readonly name: string;
  readonly owner: string;
  /** About so often one of all servers does it. */
  readonly everyMs: number;
  /** A server that is killed in the middle holds the others up for so long. */
  readonly leaseMs: number;
  /** @param note what the last one answered, "" at first. @returns what the next one is told */
  readonly work: (note: string, signal: AbortSignal) => Promise<string>;
  /** The next time it is tried again. */
  readonly onFailure: (error: unknown) => void;
}

export interface RunningWork {
  /** Ends what is being done. */
  close(): Promise<void>;
}

const TIMER_MS_MAX = 2 ** 31 - 1;

export function startBackgroundWork(leases: LeaseStore, options: BackgroundWork): RunningWork {
  const { name, owner, everyMs, leaseMs, work, onFailure } = options;
  const closing = new AbortController();
  let running: Promise<void> | undefined;
  let timer: NodeJS.Timeout | undefined;

  const pass = async (): Promise<void> => {
    const lease = await keepLease(leases, { name, owner }, leaseMs);
    if (lease === undefined) return;
    let { note } = lease;
    try {
      note = await work(note, closing.signal);
    } finally {
      // Shorter than the shortest wait, so that this server itself is not held up.
      await lease.release({ restMs: closing.signal.aborted ? 0 : everyMs * 0.7, note });
    }
  };

  const wait = (): void => {
    if (closing.signal.aborted) return;
    // At random, so that servers which were started together do not ask together.
    const waitMs = Math.min(TIMER_MS_MAX, everyMs * (0.8 + Math.random() * 0.4));
    timer = setTimeout(() => {
      running = pass()
        .catch((error: unknown) => {
          if (!closing.signal.aborted) onFailure(error);
        })
        .finally(() => {
          running = undefined;
          wait();
        })
        // Whoever is told of a failure may fail, too.
        .catch(() => undefined);
    }, waitMs);
    timer.unref();
  };
  wait();

  return {
    async close() {
      closing.abort();
      clearTimeout(timer);
      await running;
    },
  };
}
