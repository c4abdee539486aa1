/**
 * A value that is there, or a promise of it. Readers return the value at once when its bytes are resident, so
 * that a walk over cached objects costs no turn of the event loop. Callers write
 * `const x = isPromise(r) ? await r : r`.
 */
export type MaybePromise<T> = T | Promise<T>;

export function isPromise<T>(value: MaybePromise<T>): value is Promise<T> {
  return value instanceof Promise;
}

/** Work that waits now and then: `const x = yield* ready(maybe)` inside, `runSteps(work)` outside. */
export type Steps<T> = Generator<Promise<unknown>, T, unknown>;

export function* ready<T>(value: MaybePromise<T>): Steps<T> {
  return isPromise(value) ? ((yield value) as T) : value;
}

/** Runs it through at once as long as nothing has to be waited for. */
export function runSteps<T>(steps: Steps<T>): MaybePromise<T> {
  const first = steps.next();
  return first.done === true ? first.value : finishSteps(steps, first.value);
}

async function finishSteps<T>(steps: Steps<T>, first: Promise<unknown>): Promise<T> {
  let pending = first;
  for (;;) {
    const settled = await pending.then(
      (value) => () => steps.next(value),
      (error: unknown) => () => steps.throw(error),
    );
    const next = settled();
    if (next.done === true) return next.value;
    pending = next.value;
  }
}
