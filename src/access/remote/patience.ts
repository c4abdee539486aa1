/**
 * How an application is asked that may be slow or away: so many questions at once, retries with jitter, and a circuit
 * breaker when it stays away. What is wrong with an answer is no reason to ask again, and none to leave the application
 * alone: a stranger could provoke that.
 */
import type { IPolicy } from "cockatiel";
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

type PatienceOptions = Pick<
  CheckedCallerOptions,
  "retries" | "breakerFailures" | "breakerResetMs" | "concurrencyMax" | "queueMax"
>;

export function createPatience(options: PatienceOptions, events: PatienceEvents): Patience {
  let made: ReturnType<typeof makePolicy> | undefined;
  const { concurrencyMax, queueMax } = options;
  const turns = createFairTurns({
    concurrencyMax,
    queueMax,
    tooMany: () => new RemoteFailure(`${queueMax} questions wait already (queueMax)`),
  });
  return (attempt, asker = "") =>
    turns.run(asker, async () => {
      const { policy, isLeftAlone } = await (made ??= makePolicy(options, events));
      try {
        return await policy.execute(() => attempt());
      } catch (error) {
        if (isLeftAlone(error))
          throw new RemoteFailure("it did not answer lately and is left alone for a while");
        throw error;
      }
    });
}

/** With the first question: most servers ask nobody, and do without the library. */
async function makePolicy(
  options: PatienceOptions,
  events: PatienceEvents,
): Promise<{ readonly policy: IPolicy; isLeftAlone(error: unknown): boolean }> {
  const cockatiel = await import("cockatiel");
  const { BrokenCircuitError, circuitBreaker, ConsecutiveBreaker, ExponentialBackoff } = cockatiel;
  const { handleType, retry, wrap } = cockatiel;
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
  return {
    policy: wrap(retries, breaker),
    isLeftAlone: (error) => error instanceof BrokenCircuitError,
  };
}
