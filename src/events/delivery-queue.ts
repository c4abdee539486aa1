/**
 * Tells one target of events: in order per repository, again and again with growing pauses until it has taken each or, where
 * the target is one that is given up on, until it has failed too often; by one process at a time.
 */
import { randomUUID } from "node:crypto";
import type { DeliveryRecord, DeliveryStore, Lease, PendingDelivery } from "../database/delivery-store.js";
import type { ToldEvent } from "../database/event-store.js";
import type { EventLog } from "./event-log.js";
import { createRepositoryWork, type RepositoryWork } from "./repository-work.js";

/** Who is told. */
export interface DeliveryTarget {
  /** `gitorious`, `webhook:NAME` */
  readonly name: string;
  /** What it is called in the log. */
  readonly title: string;
  /** Of one attempt. */
  readonly timeoutMs: number;
  /** Before the second attempt. @default 500 */
  readonly firstPauseMs?: number;
  readonly pauseMsMax: number;
  /** Then it is put aside, and the next one comes. @default it is tried for ever */
  readonly attemptsMax?: number;
  /** Write down what became of each delivery; what was put aside can then be sent once more. */
  readonly keepsRecords: boolean;
  takesRepository(repository: string): boolean;
  takes(event: ToldEvent): boolean;
  /**
   * One attempt.
   * @returns the status of its answer, where there is such a thing
   * @throws DeliveryRefused, Error
   */
  deliver(event: ToldEvent, signal: AbortSignal): Promise<number | undefined>;
}

/** It was not taken. */
export class DeliveryRefused extends Error {
  override readonly name = "DeliveryRefused";
  readonly status: number | undefined;
  /** It will not be taken later, either. */
  readonly isFinal: boolean;

  constructor(message: string, about: { readonly status?: number; readonly isFinal?: boolean } = {}) {
    super(message);
    this.status = about.status;
    this.isFinal = about.isFinal ?? false;
  }
}

export type DeliveryOutcome = "delivered" | "failed" | "dead";

export interface DeliveryQueueOptions {
  readonly store: () => Promise<DeliveryStore>;
  /** Up to where events have been written before now. */
  readonly lastCursor: () => Promise<number>;
  readonly target: DeliveryTarget;
  readonly log: EventLog;
  /** An attempt is over; "dead": there is no other. */
  readonly onAttempt?: (outcome: DeliveryOutcome) => void;
  /** Between two looks for what other processes have left. @default 10,000 */
  readonly lookEveryMs?: number;
  /** A lease lives on for so long after the longest attempt: what is done in between has its time. @default 5,000 */
  readonly leaseMarginMs?: number;
}

export interface DeliveryQueue extends RepositoryWork {
  /** From when it resolves, the target is told of all that comes. Tries again after a failure. */
  register(): Promise<void>;
}

const FIRST_PAUSE_MS = 500;
/** Another process is at it. */
const BUSY_PAUSE_MS = 500;
const LEASE_MARGIN_MS = 5000;
const WHY_LENGTH_MAX = 500;
/** A server that closes waits no longer for an answer; what is broken off is told again. */
const CLOSE_WITHIN_MS = 2000;

export function createDeliveryQueue(options: DeliveryQueueOptions): DeliveryQueue {
  const { store, log, target, leaseMarginMs = LEASE_MARGIN_MS } = options;
  const owner = randomUUID();
  const givingUp = new AbortController();
  let registered: Promise<void> | undefined;

  async function deliverAll(repository: string, signal: AbortSignal): Promise<number | undefined> {
    if (!target.takesRepository(repository)) return undefined;
    const rows = await store();
    const nextReplay = async (): Promise<ToldEvent | undefined> =>
      target.keepsRecords ? rows.nextReplay(target.name, repository) : undefined;
    if ((await rows.next(target.name, repository)) === undefined && (await nextReplay()) === undefined)
      return undefined;
    const mine: Lease = { target: target.name, repository, owner };
    let leasedAtMs = 0;
    const holds = async (): Promise<boolean> => {
      if (Date.now() - leasedAtMs < leaseMarginMs / 2) return true;
      leasedAtMs = Date.now();
      return rows.lease(mine, target.timeoutMs + leaseMarginMs);
    };
    if (!(await holds())) return BUSY_PAUSE_MS;
    try {
      while (!signal.aborted) {
        if (!(await holds())) return BUSY_PAUSE_MS;
        const again = await nextReplay();
        if (again !== undefined) {
          await deliverAgain(rows, again);
          continue;
        }
        const next = await rows.next(target.name, repository);
        if (next === undefined) return undefined;
        const { event, notBefore } = next;
        const pauseMs = notBefore - Date.now();
        if (!target.takes(event)) await rows.advance(mine, event.cursor);
        else if (pauseMs > 0) return pauseMs;
        else {
          const waitMs = await deliverOne(rows, next, mine);
          if (waitMs !== undefined) return waitMs;
        }
      }
      return undefined;
    } finally {
      await rows.release(mine);
    }
  }

  /** @returns how long it has to wait */
  async function deliverOne(
    rows: DeliveryStore,
    { event, attempts }: PendingDelivery,
    mine: Lease,
  ): Promise<number | undefined> {
    const { isTaken, isFinal, record } = await attempt(event, attempts + 1);
    if (!isTaken && givingUp.signal.aborted) return BUSY_PAUSE_MS;
    const state = isTaken ? "delivered" : isFinal || attempts + 1 >= attemptsMax ? "dead" : "failed";
    options.onAttempt?.(state);
    if (target.keepsRecords) await rows.record({ ...record, state });
    if (state === "dead")
      log({ level: "error", message: `${target.title}: it is not told ${whatOf(event)} any more` });
    if (state !== "failed") {
      await rows.advance(mine, event.cursor);
      return undefined;
    }
    const pauseMs = pauseAfter(attempts, target);
    await rows.retryLater(mine, Date.now() + pauseMs);
    return pauseMs;
  }

  /** One attempt; it goes back to where it was put aside when that fails. */
  async function deliverAgain(rows: DeliveryStore, event: ToldEvent): Promise<void> {
    const { isTaken, record } = await attempt(event, 1);
    if (!isTaken && givingUp.signal.aborted) return;
    const state = isTaken ? "delivered" : "dead";
    options.onAttempt?.(state);
    await rows.record({ ...record, state });
  }

  const attemptsMax = target.attemptsMax ?? Number.POSITIVE_INFINITY;

  async function attempt(
    event: ToldEvent,
    attempts: number,
  ): Promise<{
    readonly isTaken: boolean;
    readonly isFinal: boolean;
    readonly record: Omit<DeliveryRecord, "state">;
  }> {
    const { id: eventId, repository, cursor } = event;
    const record = { target: target.name, eventId, repository, cursor, attempts, at: Date.now() };
    try {
      const status = await target.deliver(event, givingUp.signal);
      log({ level: "info", message: `${target.title}: it was told ${whatOf(event)}` });
      return { isTaken: true, isFinal: false, record: { ...record, status, why: undefined } };
    } catch (error) {
      const why = (error instanceof Error ? error.message : String(error)).slice(0, WHY_LENGTH_MAX);
      log({
        level: givingUp.signal.aborted ? "info" : attempts === 1 ? "warn" : "error",
        message: `${target.title}: it was not told ${whatOf(event)}, attempt ${attempts}: ${why}`,
      });
      const { status, isFinal } =
        error instanceof DeliveryRefused ? error : { status: undefined, isFinal: false };
      return { isTaken: false, isFinal, record: { ...record, status, why } };
    }
  }

  /** Those with something to deliver; what is before it is done with, and nobody need look there again. */
  async function look(): Promise<readonly string[]> {
    await register();
    const rows = await store();
    let upTo = await options.lastCursor();
    const names = new Set<string>();
    for (const { repository, first } of await rows.listRepositories(target.name)) {
      if (!target.takesRepository(repository)) continue;
      names.add(repository);
      if (first !== undefined) upTo = Math.min(upTo, first - 1);
    }
    await rows.settle(target.name, upTo);
    return [...names];
  }

  async function register(): Promise<void> {
    registered ??= store().then((rows) => rows.register(target.name));
    const mine = registered;
    try {
      await mine;
    } catch (error) {
      if (registered === mine) registered = undefined;
      throw error;
    }
  }

  const work = createRepositoryWork({
    work: deliverAll,
    look,
    onFailure: (repository, error) =>
      log({
        level: "error",
        message:
          repository === undefined
            ? `${target.title}: what it is to be told cannot be read`
            : `${target.title}: deliveries for '${repository}' have to wait`,
        error,
      }),
    lookEveryMs: options.lookEveryMs,
  });
  return {
    ...work,
    register,
    async close() {
      const timer = setTimeout(() => givingUp.abort(), CLOSE_WITHIN_MS);
      await work.close();
      clearTimeout(timer);
    },
  };
}

function whatOf({ refName, repository }: ToldEvent): string {
  return `of '${refName}' in '${repository}'`;
}

/** Doubled each time, and a part of it at random, so that many do not come back together. */
function pauseAfter(attempts: number, { firstPauseMs = FIRST_PAUSE_MS, pauseMsMax }: DeliveryTarget): number {
  const pauseMs = Math.min(firstPauseMs * 2 ** Math.min(attempts, 30), pauseMsMax);
  return Math.round(pauseMs * (0.75 + Math.random() * 0.25));
}
