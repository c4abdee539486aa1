/**
 * How many requests work on one repository at once, how many may wait for their turn, and how many there are in all.
 */
import { abortedError, GitwharfError } from "../base/errors.js";
import type { Limits } from "../base/limits.js";

interface Waiter {
  readonly start: () => void;
}

export interface RepositoryGate {
  /**
   * Waits for a place and answers with the function that gives it back (idempotent).
   * @throws server/busy when the queue is full, base/aborted when the caller left while waiting, base/shutting-down
   */
  enter(repository: string, signal?: AbortSignal): Promise<() => void>;
  /** Requests at work in all repositories. */
  readonly active: number;
  /** Requests that wait for a place. */
  readonly waiting: number;
  /** Lets nobody in any more. @returns when all who were in, or waited, have left */
  close(): Promise<void>;
}

export function createRepositoryGate(
  limits: Pick<Limits, "repositoryConcurrencyMax" | "repositoryQueueMax" | "requestsMax">,
): RepositoryGate {
  const places = new Map<string, { active: number; readonly waiting: Set<Waiter> }>();
  let activeTotal = 0;
  let waitingTotal = 0;
  let closed: Promise<void> | undefined;
  let onEmpty = (): void => undefined;
  const checkEmpty = (): void => {
    if (activeTotal + waitingTotal === 0) onEmpty();
  };

  const leave = (repository: string): void => {
    const place = places.get(repository);
    if (place === undefined) return;
    place.active--;
    activeTotal--;
    const next = place.waiting.values().next().value;
    if (next !== undefined) {
      place.waiting.delete(next);
      next.start();
    } else if (place.active === 0) places.delete(repository);
    checkEmpty();
  };

  return {
    get active() {
      return activeTotal;
    },
    get waiting() {
      return waitingTotal;
    },
    async enter(repository, signal) {
      if (signal?.aborted) throw abortedError(signal);
      if (closed !== undefined)
        throw new GitwharfError("base/shutting-down", "the server is shutting down; try again later");
      if (activeTotal + waitingTotal >= limits.requestsMax) {
        throw new GitwharfError("server/busy", "the server has too many requests; try again in a moment");
      }
      let place = places.get(repository);
      if (place === undefined) places.set(repository, (place = { active: 0, waiting: new Set() }));
      const { waiting } = place;
      if (place.active >= limits.repositoryConcurrencyMax) {
        if (waiting.size >= limits.repositoryQueueMax) {
          throw new GitwharfError(
            "server/busy",
            `too many requests wait for repository '${repository}'; try again in a moment`,
          );
        }
        await new Promise<void>((resolve, reject) => {
          const onAbort = (): void => {
            waiting.delete(waiter);
            waitingTotal--;
            checkEmpty();
            if (signal) reject(abortedError(signal));
          };
          const waiter: Waiter = {
            start: () => {
              signal?.removeEventListener("abort", onAbort);
              waitingTotal--;
              begin();
              resolve();
            },
          };
          const begin = (): void => {
            place.active++;
            activeTotal++;
          };
          waiting.add(waiter);
          waitingTotal++;
          signal?.addEventListener("abort", onAbort, { once: true });
        });
      } else {
        place.active++;
        activeTotal++;
      }
      let left = false;
      return () => {
        if (left) return;
        left = true;
        leave(repository);
      };
    },
    close() {
      closed ??= new Promise((resolve) => {
        onEmpty = resolve;
        checkEmpty();
      });
      return closed;
    },
  };
}
