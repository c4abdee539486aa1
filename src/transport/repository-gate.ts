/**
 * How many requests work on one repository at once, how many may wait for their turn, and how many there are in all.
 *
 * Nobody may take all of it: as long as a caller has no more places than are still free, it gets another one. So one
 * caller leaves about half of them to others, two leave a third, and whoever holds his places by sending a byte a minute
 * holds up nobody but himself. Callers take turns in the queue, and a newcomer takes the place of the one that waits with
 * the most.
 */
import { abortedError, GitwharfError } from "../base/errors.js";
import type { Limits } from "../base/limits.js";

interface Waiter {
  readonly start: () => void;
  readonly refuse: () => void;
}

/** A caller at one repository. */
interface Share {
  active: number;
  readonly waiting: Set<Waiter>;
}

interface Place {
  active: number;
  waiting: number;
  /** In the order of their turns; each works or waits. */
  readonly shares: Map<string, Share>;
}

export interface Entrant {
  /**
   * Who is counted as one: a user, or an address. undefined: nobody in particular, who has no share to keep to.
   */
  readonly caller?: string | undefined;
  readonly signal?: AbortSignal;
}

export interface RepositoryGate {
  /**
   * Waits for a place and answers with the function that gives it back (idempotent).
   * @throws server/busy when the queue is full, base/aborted when the caller left while waiting, base/shutting-down
   */
  enter(repository: string, entrant?: Entrant): Promise<() => void>;
  /** Requests at work in all repositories. */
  readonly active: number;
  /** Requests that wait for a place. */
  readonly waiting: number;
  /** Lets nobody in any more. @returns when all who were in, or waited, have left */
  close(): Promise<void>;
}

const NOBODY = "";

export function createRepositoryGate(
  limits: Pick<Limits, "repositoryConcurrencyMax" | "repositoryQueueMax" | "requestsMax">,
): RepositoryGate {
  const places = new Map<string, Place>();
  /** Of each caller in all repositories, at work or waiting. */
  const requests = new Map<string, number>();
  let activeTotal = 0;
  let waitingTotal = 0;
  let closed: Promise<void> | undefined;
  let onEmpty = (): void => undefined;

  const begin = (caller: string): void => {
    requests.set(caller, (requests.get(caller) ?? 0) + 1);
  };
  const end = (caller: string): void => {
    const left = (requests.get(caller) ?? 1) - 1;
    if (left === 0) requests.delete(caller);
    else requests.set(caller, left);
    if (activeTotal + waitingTotal === 0) onEmpty();
  };
  const tidy = (repository: string, place: Place, caller: string): void => {
    const share = place.shares.get(caller);
    if (share !== undefined && share.active + share.waiting.size === 0) place.shares.delete(caller);
    if (place.shares.size === 0) places.delete(repository);
  };
  const mayWork = (place: Place, caller: string, share: Share): boolean =>
    hasRoom(share.active, place.active, { caller, max: limits.repositoryConcurrencyMax });
  /** Lets in whose turn it is, as long as there is one who may. */
  const advance = (place: Place): void => {
    for (let found = true; found && place.waiting > 0; ) {
      found = false;
      for (const [caller, share] of place.shares) {
        const next = share.waiting.values().next().value;
        if (next === undefined || !mayWork(place, caller, share)) continue;
        place.shares.delete(caller);
        place.shares.set(caller, share);
        next.start();
        found = true;
        break;
      }
    }
  };

  return {
    get active() {
      return activeTotal;
    },
    get waiting() {
      return waitingTotal;
    },
    async enter(repository, { caller = NOBODY, signal } = {}) {
      if (signal?.aborted) throw abortedError(signal);
      if (closed !== undefined)
        throw new GitwharfError("base/shutting-down", "the server is shutting down; try again later");
      const all = { caller, max: limits.requestsMax };
      if (!hasRoom(requests.get(caller) ?? 0, activeTotal + waitingTotal, all)) {
        throw new GitwharfError("server/busy", "the server has too many requests; try again in a moment");
      }
      let place = places.get(repository);
      if (place === undefined) places.set(repository, (place = { active: 0, waiting: 0, shares: new Map() }));
      const { shares } = place;
      let share = shares.get(caller);
      if (share === undefined) shares.set(caller, (share = { active: 0, waiting: new Set() }));
      const [ours, mine] = [place, share];
      const work = (): void => {
        ours.active++;
        mine.active++;
        activeTotal++;
      };
      if (mine.waiting.size === 0 && mayWork(ours, caller, mine)) {
        work();
        begin(caller);
      } else {
        if (ours.waiting >= limits.repositoryQueueMax && (mine.waiting.size > 0 || !makeRoom(ours))) {
          tidy(repository, ours, caller);
          throw tooManyWait(repository);
        }
        begin(caller);
        await new Promise<void>((resolve, reject) => {
          const leave = (): void => {
            signal?.removeEventListener("abort", onAbort);
            mine.waiting.delete(waiter);
            ours.waiting--;
            waitingTotal--;
          };
          const refuse = (error: unknown): void => {
            leave();
            tidy(repository, ours, caller);
            end(caller);
            reject(error);
          };
          const onAbort = (): void => {
            if (signal) refuse(abortedError(signal));
          };
          const waiter: Waiter = {
            start: () => {
              leave();
              work();
              resolve();
            },
            refuse: () => refuse(tooManyWait(repository)),
          };
          mine.waiting.add(waiter);
          ours.waiting++;
          waitingTotal++;
          signal?.addEventListener("abort", onAbort, { once: true });
        });
      }
      let left = false;
      return () => {
        if (left) return;
        left = true;
        ours.active--;
        mine.active--;
        activeTotal--;
        advance(ours);
        tidy(repository, ours, caller);
        end(caller);
      };
    },
    close() {
      closed ??= new Promise((resolve) => {
        onEmpty = resolve;
        if (activeTotal + waitingTotal === 0) resolve();
      });
      return closed;
    },
  };
}

/** Of `max` some are taken, and `own` of them by the caller: does it get another one? */
function hasRoom(
  own: number,
  taken: number,
  { caller, max }: { readonly caller: string; readonly max: number },
): boolean {
  const free = max - taken;
  return free > 0 && (caller === NOBODY || own <= free);
}

/** The last of the caller that waits with the most has to go; not for one that waits with a single request. */
function makeRoom({ shares }: Place): boolean {
  let most: Set<Waiter> = new Set();
  for (const { waiting } of shares.values()) if (waiting.size > most.size) most = waiting;
  if (most.size < 2) return false;
  [...most].at(-1)?.refuse();
  return true;
}

function tooManyWait(repository: string): GitwharfError {
  return new GitwharfError(
    "server/busy",
    `too many requests wait for repository '${repository}'; try again in a moment`,
  );
}
