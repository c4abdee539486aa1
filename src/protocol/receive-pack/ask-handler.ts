/** Asks one handler of the application: with a time limit, and failing closed. */
import { isGitwharfError } from "../../base/errors.js";
import type { MaybePromise } from "../../base/maybe-promise.js";
import type { PushHandlers } from "../../engine/push.js";
import type { PushView } from "../../engine/pushed/create-push.js";
import type { PushState } from "./push-state.js";

/** A longer timer would fire at once. */
const TIMER_MS_MAX = 2 ** 31 - 1;

export type HandlerAnswer<T> =
  | { readonly ok: true; readonly value: T }
  /** It threw, or took too long: `why` is for the pusher, and undefined when nothing may be told. */
  | { readonly ok: false; readonly why: string | undefined };

export interface HandlerQuestion<T> {
  readonly name: string;
  readonly handlers: Pick<PushHandlers, "timeoutMs">;
  /** @default that of the push */
  readonly signal?: AbortSignal;
  readonly ask: (view: PushView) => MaybePromise<T>;
}

export async function askHandler<T>(
  state: PushState,
  question: HandlerQuestion<T>,
): Promise<HandlerAnswer<T>> {
  const { context } = state;
  const { name, handlers, signal = state.push.signal } = question;
  const limitMs = handlers.timeoutMs ?? context.handlerTimeoutMs ?? Number.POSITIVE_INFINITY;
  const own = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  // By hand: what `AbortSignal.any` makes lives as long as the push, and there may be a hundred thousand refs.
  const onAbort = (): void => own.abort(signal.reason);
  try {
    const isShared = limitMs === Number.POSITIVE_INFINITY && signal === state.push.signal;
    if (isShared) return { ok: true, value: await question.ask(state) };
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
    const view = state.viewFor(own.signal);
    const late = new Promise<"late">((resolve) => {
      if (limitMs <= TIMER_MS_MAX) timer = setTimeout(() => resolve("late"), limitMs);
    });
    const asked = Promise.resolve(question.ask(view)).then((value) => ({ value }));
    const first = await Promise.race([asked, late]);
    if (first !== "late") return { ok: true, value: first.value };
    const why = `the ${name} handler took longer than ${limitMs / 1000} seconds`;
    const error = new Error(why);
    own.abort(error);
    // What it says later is of no consequence.
    asked.catch(() => undefined);
    context.onHandlerError(name, error);
    return { ok: false, why };
  } catch (error) {
    // What a handler throws may hold secrets and is not for the pusher.
    // That the client has left is no failure of the handler's.
    if (!(signal.aborted && isGitwharfError(error, "base/aborted"))) context.onHandlerError(name, error);
    return { ok: false, why: undefined };
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", onAbort);
  }
}
