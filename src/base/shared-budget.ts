/**
 * What many hold in memory at once (bytes, rows), bounded in sum. Each may hold a little whatever the others do, so that
 * a few who hold much keep nobody from small requests.
 */
import { GitwharfError } from "./errors.js";

export interface BudgetShare {
  /** @throws server/busy when the others and this one would hold too much; then this one holds what it held before */
  take(amount: number): void;
  /** The same. @returns false instead of throwing */
  tryTake(amount: number): boolean;
  /** Gives all of it back. It may be used again. */
  release(): void;
}

export interface SharedBudget {
  /** What counts now. */
  readonly held: number;
  open(): BudgetShare;
}

export interface SharedBudgetOptions {
  readonly max: number;
  /** Of each share: so much does not count. */
  readonly free: number;
  /** What there is too much of, for the message. @default "large requests" */
  readonly what?: string;
}

export function createSharedBudget({
  max,
  free,
  what = "large requests",
}: SharedBudgetOptions): SharedBudget {
  let held = 0;
  return {
    get held() {
      return held;
    },
    open() {
      let taken = 0;
      const counted = (): number => Math.max(0, taken - free);
      const tryTake = (amount: number): boolean => {
        const before = counted();
        taken += amount;
        const more = counted() - before;
        if (more > 0 && held + more > max) {
          taken -= amount;
          return false;
        }
        held += more;
        return true;
      };
      return {
        tryTake,
        take(amount) {
          if (tryTake(amount)) return;
          throw new GitwharfError("server/busy", `the server reads too many ${what}; try again in a moment`);
        },
        release() {
          held -= counted();
          taken = 0;
        },
      };
    },
  };
}
