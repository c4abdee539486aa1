/**
 * So much work at once, and so much that waits. Each asker has a share of the queue and is served in turn, and a newcomer
 * takes the place of the one that waits with the most: a crowd holds up itself.
 */

export interface FairTurnsOptions {
  /** Work that is done at once. */
  readonly concurrencyMax: number;
  /** Work that waits. */
  readonly queueMax: number;
  /** Of it, of one asker. @default as much as may wait */
  readonly perAskerMax?: number;
  /** What who finds no place, or loses it, is told. */
  readonly tooMany: () => Error;
}

export interface FairTurns {
  /** @throws what `tooMany` gives, and what the work throws */
  run<T>(asker: string, work: () => Promise<T>): Promise<T>;
}

interface Waiter {
  readonly start: () => void;
  readonly refuse: () => void;
}

export function createFairTurns(options: FairTurnsOptions): FairTurns {
  const { concurrencyMax, queueMax, perAskerMax = queueMax, tooMany } = options;
  /** Askers in the order of their turns. None is empty. */
  const waiting = new Map<string, Waiter[]>();
  let length = 0;
  let working = 0;

  /** The last of who waits with the most; not the only one of anybody. */
  const makeRoom = (): boolean => {
    let most: Waiter[] = [];
    for (const waiters of waiting.values()) if (waiters.length > most.length) most = waiters;
    if (most.length < 2) return false;
    most.pop()?.refuse();
    length--;
    return true;
  };
  const wait = (asker: string): Promise<void> => {
    const waiters = waiting.get(asker);
    if (waiters !== undefined && waiters.length >= perAskerMax) throw tooMany();
    if (length >= queueMax && (waiters !== undefined || !makeRoom())) throw tooMany();
    return new Promise((resolve, reject) => {
      const waiter = { start: resolve, refuse: () => reject(tooMany()) };
      if (waiters === undefined) waiting.set(asker, [waiter]);
      else waiters.push(waiter);
      length++;
    });
  };
  /** Hands the place on, or gives it back. */
  const leave = (): void => {
    for (const [asker, waiters] of waiting) {
      waiting.delete(asker);
      const next = waiters.shift();
      if (waiters.length > 0) waiting.set(asker, waiters);
      length--;
      next?.start();
      return;
    }
    working--;
  };

  return {
    async run(asker, work) {
      if (working < concurrencyMax) working++;
      else await wait(asker);
      try {
        return await work();
      } finally {
        leave();
      }
    },
  };
}
