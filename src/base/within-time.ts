/** An answer of code that is not ours, or the end of waiting for it. */
import { isPromise, type MaybePromise } from "./maybe-promise.js";

/** A longer timer would fire at once. */
const TIMER_MS_MAX = 2 ** 31 - 1;

/**
 * The question itself goes on; nobody listens to what it comes to.
 * @param what for the message: `the authorize callback`
 */
export async function withinTime<T>(
  timeoutMs: number,
  what: string,
  question: () => MaybePromise<T>,
): Promise<T> {
  const answer = question();
  if (timeoutMs > TIMER_MS_MAX || !isThenable(answer)) return answer;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} gave no answer within ${timeoutMs} ms`)), timeoutMs);
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Promises of other libraries are no promises of this one. */
function isThenable<T>(value: MaybePromise<T>): value is Promise<T> {
  if (isPromise(value)) return true;
  return typeof value === "object" && value !== null && typeof Reflect.get(value, "then") === "function";
}
