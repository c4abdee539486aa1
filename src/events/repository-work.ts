/**
 * Work that is done repository by repository: by one at a time in each, in a few of them at once, again when it asks for
 * it, and looked for from time to time, because other processes leave some.
 */
export interface RepositoryWorkOptions {
  /**
   * Does what there is to do.
   * @returns in how many milliseconds it wants to go on; undefined: there is nothing left
   */
  readonly work: (repository: string, signal: AbortSignal) => Promise<number | undefined>;
  /** Those that have something to do. */
  readonly look: () => Promise<readonly string[]>;
  /** @param repository undefined: the look failed */
  readonly onFailure: (repository: string | undefined, error: unknown) => void;
  /** Between two looks. @default 10,000 */
  readonly lookEveryMs?: number | undefined;
  /** @default 8 */
  readonly atOnceMax?: number;
}

export interface RepositoryWork {
  /** Looks for what is left, now and from time to time. */
  start(): void;
  /** There is something new. Resolves when it is done, or has to wait. Never rejects. */
  run(repository: string): Promise<void>;
  /** Waits for what is being done. */
  close(): Promise<void>;
}

const LOOK_EVERY_MS = 10_000;
const AT_ONCE_MAX = 8;
const FAILED_PAUSE_MS = 5000;

export function createRepositoryWork(options: RepositoryWorkOptions): RepositoryWork {
  const { work, onFailure, lookEveryMs = LOOK_EVERY_MS, atOnceMax = AT_ONCE_MAX } = options;
  const closing = new AbortController();
  const timers = new Map<string, NodeJS.Timeout>();
  const running = new Map<string, { done: Promise<void>; again: boolean }>();
  const waiting: (() => void)[] = [];
  let atWork = 0;
  let looking: NodeJS.Timeout | undefined;
  let look: Promise<void> = Promise.resolve();

  const isClosed = (): boolean => closing.signal.aborted;

  function later(repository: string, pauseMs: number): void {
    clearTimeout(timers.get(repository));
    if (isClosed()) return;
    const timer = setTimeout(() => {
      timers.delete(repository);
      void run(repository);
    }, pauseMs);
    timer.unref();
    timers.set(repository, timer);
  }

  function run(repository: string): Promise<void> {
    if (isClosed()) return Promise.resolve();
    const before = running.get(repository);
    if (before !== undefined) {
      before.again = true;
      return before.done;
    }
    const mine = { done: Promise.resolve(), again: false };
    mine.done = (async () => {
      await takeTurn();
      try {
        let pauseMs: number | undefined;
        do {
          mine.again = false;
          pauseMs = await work(repository, closing.signal);
        } while (mine.again && !isClosed());
        if (pauseMs !== undefined) later(repository, pauseMs);
      } catch (error) {
        onFailure(repository, error);
        later(repository, FAILED_PAUSE_MS);
      } finally {
        running.delete(repository);
        giveTurn();
      }
    })();
    running.set(repository, mine);
    return mine.done;
  }

  async function takeTurn(): Promise<void> {
    if (atWork < atOnceMax) {
      atWork++;
      return;
    }
    await new Promise<void>((resolve) => waiting.push(resolve));
  }

  function giveTurn(): void {
    const next = waiting.shift();
    if (next === undefined) atWork--;
    else next();
  }

  async function lookForAll(): Promise<void> {
    try {
      for (const repository of await options.look())
        if (!timers.has(repository) && !running.has(repository)) void run(repository);
    } catch (error) {
      onFailure(undefined, error);
    }
  }

  return {
    start() {
      if (looking !== undefined || isClosed()) return;
      const begin = (): void => void (look = lookForAll());
      begin();
      looking = setInterval(begin, lookEveryMs);
      looking.unref();
    },
    run,
    async close() {
      closing.abort();
      clearInterval(looking);
      for (const timer of timers.values()) clearTimeout(timer);
      timers.clear();
      await look;
      await Promise.all([...running.values()].map(({ done }) => done));
    },
  };
}
