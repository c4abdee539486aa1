/** A sign of life at intervals while something is awaited. */

/**
 * The work's result. Every `seconds` until it is there, `beat` is called and awaited; a beat that fails ends the
 * waiting (the work goes on: who can stop it does).
 * @param options.seconds 0: no beats
 * @throws what the work or a beat throws
 */
export async function withKeepAlive<T>(
  work: Promise<T>,
  options: { readonly seconds: number; readonly beat: () => Promise<void> },
): Promise<T> {
  const { seconds, beat } = options;
  if (seconds <= 0) return work;
  // A work that fails while a beat is awaited is thrown by the next turn of the loop.
  work.catch(() => undefined);
  for (;;) {
    let timer: NodeJS.Timeout | undefined;
    const tick = new Promise<typeof TICK>((resolve) => {
      timer = setTimeout(() => resolve(TICK), Math.min(seconds * 1000, TIMER_MS_MAX));
    });
    try {
      const first = await Promise.race([work, tick]);
      if (first !== TICK) return first;
    } finally {
      clearTimeout(timer);
    }
    await beat();
  }
}

/** A longer timer would fire at once. */
export const TIMER_MS_MAX: number = 2 ** 31 - 1;

const TICK = Symbol("tick");
