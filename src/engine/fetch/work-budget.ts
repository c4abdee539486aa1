/**
 * How much walking one request may do on the thread that it started on.
 *
 * On the main thread a walk gets a budget of units (one unit is about ten microseconds of work: a commit parsed, a
 * tree compared). It pauses for a turn of the event loop every few milliseconds, and when the budget is used up it
 * is given up with `BudgetExceeded` and begun again in a worker thread. A worker's budget is unlimited: there the
 * thread itself is ended when the client leaves.
 */
import { throwIfAborted } from "../../base/errors.js";

/** Thrown by `spend`; never leaves the engine: who set the limit catches it. */
export class BudgetExceeded extends Error {
  constructor() {
    super("the work does not fit the budget of this thread");
    this.name = "BudgetExceeded";
  }
}

export interface WorkBudgetOptions {
  /** Units until `BudgetExceeded`. @default Infinity */
  readonly unitsMax?: number;
  /** Milliseconds of work between two turns of the event loop; Infinity in a worker. @default 6 */
  readonly sliceMs?: number;
  readonly signal?: AbortSignal | undefined;
}

const UNITS_BETWEEN_CLOCK_READS = 64;

export class WorkBudget {
  #left: number;
  #untilClock = UNITS_BETWEEN_CLOCK_READS;
  #sliceStart: number;
  readonly #sliceMs: number;
  readonly #signal: AbortSignal | undefined;

  constructor(options: WorkBudgetOptions = {}) {
    this.#left = options.unitsMax ?? Number.POSITIVE_INFINITY;
    this.#sliceMs = options.sliceMs ?? 6;
    this.#signal = options.signal;
    this.#sliceStart = performance.now();
  }

  /**
   * True when it is time to `await pause()`.
   * @throws BudgetExceeded
   */
  spend(units: number): boolean {
    this.#left -= units;
    if (this.#left < 0) throw new BudgetExceeded();
    this.#untilClock -= units;
    if (this.#untilClock > 0) return false;
    this.#untilClock = UNITS_BETWEEN_CLOCK_READS;
    return performance.now() - this.#sliceStart > this.#sliceMs;
  }

  /** Lets others run. @throws base/aborted when the client has gone */
  async pause(): Promise<void> {
    await new Promise<void>((resolve) => setImmediate(resolve));
    throwIfAborted(this.#signal);
    this.#sliceStart = performance.now();
  }
}

/** No limit and no pauses: for worker threads and tests. */
export function unlimitedBudget(): WorkBudget {
  return new WorkBudget({ sliceMs: Number.POSITIVE_INFINITY });
}
