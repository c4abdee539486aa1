/**
 * Tells the application of refs that have moved: in order per repository, again and again with growing pauses until it
 * has taken it, by one process at a time. What is to be delivered is in the database before the refs move, so that a
 * server that is killed tells of it when it comes back.
 */
import { randomUUID } from "node:crypto";
import type { Delivery, DeliveryStore } from "../../database/delivery-store.js";
import type { Repository } from "../../storage/contracts/repository.js";
import { type GitoriousApi, whyOf } from "./gitorious-api.js";
import type { GitoriousLogEntry } from "./gitorious-application.js";
import { hasMoved } from "./settle-delivery.js";

export interface DeliveryQueueOptions {
  readonly store: () => Promise<DeliveryStore>;
  readonly api: Pick<GitoriousApi, "postReceive">;
  /** undefined: it is gone. */
  readonly open: (repository: string) => Promise<Repository | undefined>;
  readonly timeoutMs: number;
  readonly pauseMsMax: number;
  readonly log: (entry: GitoriousLogEntry & { readonly error?: unknown }) => void;
  /** Between two looks for what other processes have left. @default 10,000 */
  readonly lookEveryMs?: number;
}

export interface DeliveryQueue {
  /** Looks for what is left, now and from time to time. */
  start(): void;
  /** There is something new. Resolves when it is delivered, or has to wait. */
  deliver(repository: string): Promise<void>;
  /** What is being delivered is still delivered. */
  close(): Promise<void>;
}

const LOOK_EVERY_MS = 10_000;
const FIRST_PAUSE_MS = 500;
/** Another process is at it, or a ref is being changed. */
const BUSY_PAUSE_MS = 500;
/** A lease lives on for so long after the longest attempt: what is done in between has its time. */
const LEASE_MARGIN_MS = 5000;
const REPOSITORIES_AT_ONCE = 8;

export function createDeliveryQueue(options: DeliveryQueueOptions): DeliveryQueue {
  const { store, api, log, timeoutMs } = options;
  const owner = randomUUID();
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
      void deliver(repository);
    }, pauseMs);
    timer.unref();
    timers.set(repository, timer);
  }

  function deliver(repository: string): Promise<void> {
    if (isClosed()) return Promise.resolve();
    const before = running.get(repository);
    if (before !== undefined) {
      before.again = true;
      return before.done;
    }
    const run = { done: Promise.resolve(), again: false };
    run.done = (async () => {
      await takeTurn();
      try {
        do {
          run.again = false;
          await deliverAll(repository);
        } while (run.again && !isClosed());
      } catch (error) {
        log({ level: "error", message: `deliveries for '${repository}' have to wait`, error });
        later(repository, BUSY_PAUSE_MS * 10);
      } finally {
        running.delete(repository);
        giveTurn();
      }
    })();
    running.set(repository, run);
    return run.done;
  }

  async function takeTurn(): Promise<void> {
    if (atWork < REPOSITORIES_AT_ONCE) {
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

  async function deliverAll(repository: string): Promise<void> {
    const rows = await store();
    if ((await rows.first(repository)) === undefined) return;
    const leaseMs = timeoutMs + LEASE_MARGIN_MS;
    let leasedAtMs = Date.now();
    const lease = async (): Promise<boolean> => {
      leasedAtMs = Date.now();
      return rows.lease(repository, owner, leaseMs);
    };
    if (!(await lease())) return later(repository, BUSY_PAUSE_MS);
    try {
      while (!isClosed()) {
        const next = await rows.first(repository);
        if (next === undefined) return;
        const pauseMs = next.notBefore - Date.now();
        if (pauseMs > 0) return later(repository, pauseMs);
        if (!next.hasMoved && !(await settle(rows, next))) return;
        if (!next.hasMoved) continue;
        const isYoung = Date.now() - leasedAtMs < LEASE_MARGIN_MS / 2;
        if (!isYoung && !(await lease())) return later(repository, BUSY_PAUSE_MS);
        if (!(await deliverOne(rows, next))) return;
      }
    } finally {
      await rows.release(repository, owner);
    }
  }

  /** @returns false when it has to wait */
  async function settle(rows: DeliveryStore, delivery: Delivery): Promise<boolean> {
    const { id, repository: name, refName } = delivery;
    const repository = await options.open(name);
    let moved: boolean | undefined;
    try {
      moved = repository === undefined ? true : await hasMoved(repository, delivery);
    } finally {
      await repository?.close();
    }
    if (moved === undefined) {
      later(name, BUSY_PAUSE_MS);
      return false;
    }
    const what = `'${refName}' of '${name}' ${moved ? "has" : "has not"} moved, as the ref itself says`;
    log({ level: "info", message: `gitorious: ${what}` });
    await (moved ? rows.markMoved({ id }) : rows.remove({ id }));
    return true;
  }

  /** @returns false when it has to wait */
  async function deliverOne(rows: DeliveryStore, delivery: Delivery): Promise<boolean> {
    const { id, repository, attempts, user, repositoryId, refName, oldOid, newOid } = delivery;
    const what = `of '${refName}' in '${repository}'`;
    try {
      await api.postReceive({ user, repositoryId, refName, oldOid, newOid });
    } catch (error) {
      const pauseMs = pauseAfter(attempts, options.pauseMsMax);
      log({
        level: attempts === 0 ? "warn" : "error",
        message: `gitorious: it was not told ${what}, attempt ${attempts + 1}: ${whyOf(error)}`,
      });
      await rows.retryLater(id, Date.now() + pauseMs);
      later(repository, pauseMs);
      return false;
    }
    await rows.remove({ id });
    log({ level: "info", message: `gitorious: it was told ${what}` });
    return true;
  }

  async function lookForAll(): Promise<void> {
    try {
      for (const repository of await (await store()).listRepositories())
        if (!timers.has(repository) && !running.has(repository)) void deliver(repository);
    } catch (error) {
      log({ level: "error", message: "what is to be delivered cannot be read", error });
    }
  }

  return {
    start() {
      if (looking !== undefined || isClosed()) return;
      const begin = (): void => void (look = lookForAll());
      begin();
      looking = setInterval(begin, options.lookEveryMs ?? LOOK_EVERY_MS);
      looking.unref();
    },
    deliver,
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

/** Doubled each time, and a part of it at random, so that many do not come back together. */
function pauseAfter(attempts: number, maxMs: number): number {
  const pauseMs = Math.min(FIRST_PAUSE_MS * 2 ** Math.min(attempts, 30), maxMs);
  return Math.round(pauseMs * (0.75 + Math.random() * 0.25));
}
