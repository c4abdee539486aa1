/** So many at once; the others wait in the order in which they came. */
import { abortedError } from "../../../../base/errors.js";

export interface Gate {
  /** @returns to be called when it is over. @throws base/aborted */
  enter(signal: AbortSignal | undefined): Promise<() => void>;
}

export function createGate(max: number): Gate {
  let inside = 0;
  const waiting = new Set<() => void>();

  const leaveOnce = (): (() => void) => {
    let isOut = false;
    return () => {
      if (isOut) return;
      isOut = true;
      const [next] = waiting;
      if (next === undefined) inside--;
      else {
        waiting.delete(next);
        next();
      }
    };
  };

  return {
    enter: (signal) =>
      new Promise((resolve, reject) => {
        if (signal?.aborted === true) {
          reject(abortedError(signal));
          return;
        }
        if (inside < max) {
          inside++;
          resolve(leaveOnce());
          return;
        }
        const go = (): void => {
          signal?.removeEventListener("abort", giveUp);
          resolve(leaveOnce());
        };
        const giveUp = (): void => {
          waiting.delete(go);
          if (signal !== undefined) reject(abortedError(signal));
        };
        waiting.add(go);
        signal?.addEventListener("abort", giveUp, { once: true });
      }),
  };
}
