/**
 * A value that is there, or a promise of it. Readers return the value at once when its bytes are resident, so
 * that a walk over cached objects costs no turn of the event loop. Callers write
 * `const x = isPromise(r) ? await r : r`.
 */
export type MaybePromise<T> = T | Promise<T>;

export function isPromise<T>(value: MaybePromise<T>): value is Promise<T> {
  return value instanceof Promise;
}

/** `use(value)` now or when it arrives. */
export function whenReady<T, U>(value: MaybePromise<T>, use: (value: T) => MaybePromise<U>): MaybePromise<U> {
  return isPromise(value) ? value.then(use) : use(value);
}
