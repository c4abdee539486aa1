/**
 * Bytes that many hold in memory at once, bounded in sum. Each may hold a little whatever the others do, so that a few
 * who hold much keep nobody from small requests.
 */
import { GitwharfError } from "./errors.js";

export interface ByteShare {
  /** @throws server/busy when the others and this one would hold too much; then this one holds what it held before */
  take(bytes: number): void;
  /** The same. @returns false instead of throwing */
  tryTake(bytes: number): boolean;
  /** Gives all of it back. It may be used again. */
  release(): void;
}

export interface ByteBudget {
  /** Bytes that count now. */
  readonly held: number;
  open(): ByteShare;
}

/** @param options.freeBytes of each share: they do not count */
export function createByteBudget(options: {
  readonly bytesMax: number;
  readonly freeBytes: number;
}): ByteBudget {
  const { bytesMax, freeBytes } = options;
  let held = 0;
  return {
    get held() {
      return held;
    },
    open() {
      let taken = 0;
      const counted = (): number => Math.max(0, taken - freeBytes);
      const tryTake = (bytes: number): boolean => {
        const before = counted();
        taken += bytes;
        const more = counted() - before;
        if (more > 0 && held + more > bytesMax) {
          taken -= bytes;
          return false;
        }
        held += more;
        return true;
      };
      return {
        tryTake,
        take(bytes) {
          if (tryTake(bytes)) return;
          throw new GitwharfError(
            "server/busy",
            "the server reads too many large requests; try again in a moment",
          );
        },
        release() {
          held -= counted();
          taken = 0;
        },
      };
    },
  };
}
