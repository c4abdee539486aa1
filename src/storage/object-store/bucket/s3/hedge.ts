/**
 * A second request for small reads that take longer than nearly all of them do: one in a thousand meets a slow disk or a
 * lost packet, and a clone makes several. Whoever answers first counts, the other one is aborted.
 *
 * "Longer" is the 95th percentile of the last reads, so it follows the store. When everything is slow a second request
 * would only add to that: of a hundred reads at most ten are asked twice.
 */
import { isGitwharfError } from "../../../../base/errors.js";
import { S3Failure } from "./s3-failure.js";

export interface Hedging {
  /** When to ask a second time; undefined: not at all. Takes from what is left of hedges when the time has come. */
  afterMs(): number | undefined;
  mayAsk(): boolean;
  took(ms: number): void;
}

export interface HedgingOptions {
  /** No sooner than that, however fast the store is. */
  readonly minMs: number;
  /** Reads before anything can be said of them. */
  readonly samplesMin?: number;
}

const SAMPLES = 200;
const SAMPLES_MIN = 20;
const RECKON_EVERY = 10;
const PERCENTILE = 0.95;
const HEDGES_PER_READ = 0.1;
const HEDGES_MAX = 10;

export function createHedging({ minMs, samplesMin = SAMPLES_MIN }: HedgingOptions): Hedging {
  const samples: number[] = [];
  let reads = 0;
  let percentileMs: number | undefined;
  let left = HEDGES_MAX / 2;
  return {
    afterMs: () => percentileMs,
    mayAsk() {
      if (left < 1) return false;
      left--;
      return true;
    },
    took(ms) {
      samples[reads++ % SAMPLES] = ms;
      left = Math.min(HEDGES_MAX, left + HEDGES_PER_READ);
      if (reads < samplesMin || (percentileMs !== undefined && reads % RECKON_EVERY !== 0)) return;
      const sorted = samples.toSorted((a, b) => a - b);
      percentileMs = Math.max(minMs, sorted[Math.floor(sorted.length * PERCENTILE)] ?? minMs);
    },
  };
}

/** @param read ends when its signal fires, and leaves nothing behind */
export function hedged<T>(
  hedging: Hedging,
  signal: AbortSignal | undefined,
  read: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const startedMs = performance.now();
    const running = new Set<AbortController>();
    let isOver = false;

    const leave = (): void => {
      for (const each of running) each.abort(signal?.reason);
    };
    const over = (): void => {
      isOver = true;
      clearTimeout(timer);
      signal?.removeEventListener("abort", leave);
      leave();
    };
    const ask = (): void => {
      const controller = new AbortController();
      running.add(controller);
      read(controller.signal).then(
        (answer) => {
          running.delete(controller);
          if (isOver) return;
          hedging.took(performance.now() - startedMs);
          over();
          resolve(answer);
        },
        (error: unknown) => {
          running.delete(controller);
          if (isOver) return;
          // What one has found out for certain the other one will not change.
          if (running.size > 0 && !isCertain(error)) return;
          over();
          reject(error);
        },
      );
    };

    signal?.addEventListener("abort", leave, { once: true });
    const afterMs = hedging.afterMs();
    const again = (): void => {
      if (running.size > 0 && hedging.mayAsk()) ask();
    };
    const timer = afterMs === undefined ? undefined : setTimeout(again, afterMs);
    ask();
    // What is aborted already does not say so again; the answer to it is the error.
    if (signal?.aborted === true) leave();
  });
}

function isCertain(error: unknown): boolean {
  return isGitwharfError(error) || (error instanceof S3Failure && error.kind === "absent");
}
