/**
 * How an application is asked that may be slow or away: so many questions at once, retries with jitter, and a circuit
 * breaker when it stays away. What is wrong with an answer is no reason to ask again, and none to leave the application
 * alone: a stranger could provoke that.
 */
import {
  BrokenCircuitError,
  circuitBreaker,
  ConsecutiveBreaker,
  ExponentialBackoff,
  handleType,
  retry,
  wrap,
} from "cockatiel";
import { createFairTurns } from "../../base/fair-turns.js";
import type { CheckedCallerOptions } from "./caller-options.js";
import { RemoteAway, RemoteFailure } from "./remote-failure.js";

export interface PatienceEvents {
  readonly onRetry: (why: string) => void;
  readonly onBreak: () => void;
  readonly onReset: () => void;
}

/**
 * Runs attempts until one gives no `RemoteAway`. Askers (addresses of callers, where they are known) take turns, so that a
 * crowd from one place does not keep the questions of others waiting.
 * @throws RemoteFailure, and what the attempt throws
 */
export type Patience = <T>(attempt: () => Promise<T>, asker?: string) => Promise<T>;

export function createPatience(
  options: Pick<
    CheckedCallerOptions,
    "retries" | "breakerFailures" | "breakerResetMs" | "concurrencyMax" | "queueMax"
  >,
  events: PatienceEvents,
): Patience {
  const away = handleType(RemoteAway);
  const breaker = circuitBreaker(away, {
    breaker: new ConsecutiveBreaker(options.breakerFailures),
    halfOpenAfter: options.breakerResetMs,
  });
  const retries = retry(away, {
    maxAttempts: options.retries,
    backoff: new ExponentialBackoff({ initialDelay: 50, maxDelay: 1000 }),
  });
  breaker.onBreak(() => events.onBreak());
  breaker.onReset(() => events.onReset());
  retries.onRetry((reason) => events.onRetry("error" in reason ? reason.error.message : "it gave no answer"));
  const policy = wrap(retries, breaker);
  const { concurrencyMax, queueMax } = options;
  const turns = createFairTurns({
    concurrencyMax,
    queueMax,
    tooMany: () => new RemoteFailure(`${queueMax} questions wait already (queueMax)`),
  });
  return async (attempt, asker = "") => {
    try {
      return await turns.run(asker, () => policy.execute(() => attempt()));
    } catch (error) {
      if (error instanceof BrokenCircuitError)
        throw new RemoteFailure("it did not answer lately and is left alone for a while");
      throw error;
    }
  };
}
