/**
 * The options `events` and `webhooks`, turned into the handlers that write events down, the queues that tell others of them,
 * and what the application reads. All of it is kept in the database of users.
 */
import { GitwharfError } from "../base/errors.js";
import {
  type DeliveryRecord,
  type DeliveryState,
  type DeliveryStore,
  type Replay,
  webhookTarget,
} from "../database/delivery-store.js";
import type { EventStore } from "../database/event-store.js";
import { databaseName } from "../database/open-database.js";
import type { PushHandlers } from "../engine/push.js";
import {
  createDeliveryQueue,
  type DeliveryOutcome,
  type DeliveryQueue,
  type DeliveryTarget,
} from "../events/delivery-queue.js";
import { createEventPublisher } from "../events/event-publisher.js";
import { createEventRecorder } from "../events/event-recorder.js";
import { createEventTail, type ReadEventsOptions } from "../events/event-tail.js";
import type { RefEvent } from "../events/event.js";
import { createWebhooks } from "../events/webhook.js";
import type { RepositoryStore } from "../storage/contracts/repository.js";
import type { ServiceLogEntry } from "../transport/service-host.js";
import type { GitServerOptions } from "./git-server-options.js";
import { AGENT } from "./version.js";

export interface EventsOptions {
  /** How long events that everybody has been told of are kept. @default 30 */
  readonly keepDays?: number;
  /**
   * How soon what a server that was killed has left is taken over, by another one that shares its database or by itself when it is
   * back: all look for such as often, and who delivers is waited for half as long beyond the time that an attempt may take.
   * @default 10
   */
  readonly takeOverSeconds?: number;
}

/** The tables of events. */
export interface Outbox {
  readonly events: EventStore;
  readonly deliveries: DeliveryStore;
}

export interface EventReader {
  /**
   * Reads changes of refs in order from a cursor, and waits for more until its signal or the server's end.
   * @throws server/bad-configuration: events are off, or the cursor is none; database/unavailable
   */
  read(options?: ReadEventsOptions): AsyncIterableIterator<RefEvent>;
}

/** What became of a delivery to a webhook. */
export type WebhookDelivery = Omit<DeliveryRecord, "target">;

export interface WebhookDeliveries {
  /** The latest events first. @default max 100 */
  deliveries(
    webhook: string,
    options?: { readonly states?: readonly DeliveryState[]; readonly max?: number },
  ): Promise<readonly WebhookDelivery[]>;
  /** Sends once more what was delivered or put aside. @returns how many those are */
  replay(webhook: string, which: Replay): Promise<number>;
}

export interface ServerEvents {
  /** Before all others. */
  readonly first: readonly PushHandlers[];
  /** After those that may refuse before the refs are locked. */
  readonly beforeMove: readonly PushHandlers[];
  /** After all that may refuse. */
  readonly last: readonly PushHandlers[];
  readonly reader: EventReader;
  readonly webhooks: WebhookDeliveries;
  /** Attempts so far, by how they ended. */
  readonly attempts: Readonly<Record<DeliveryOutcome, number>>;
  /** Resolves when this target has been told of what has happened in a repository, or has to wait. */
  told(target: string, repository: string): Promise<void>;
  start(): void;
  /** Who is being told has two seconds to answer. */
  close(): Promise<void>;
}

const KEEP_DAYS = 30;
const TAKE_OVER_SECONDS = 10;
/** Between two statements of who has a lease, half of that may pass. */
const TAKE_OVER_SECONDS_MIN = 1;
const TAKE_OVER_SECONDS_MAX = 3600;
const DAY_MS = 86_400_000;
const PRUNE_EVERY_MS = 3_600_000;
const DELIVERIES_MAX = 100;

/**
 * @param about.targets that are told besides webhooks
 * @returns undefined: nobody wants events
 * @throws server/bad-configuration
 */
export function createServerEvents(
  options: Pick<GitServerOptions, "events" | "webhooks">,
  about: {
    readonly outbox: (() => Promise<Outbox>) | undefined;
    /** Where that is. */
    readonly database?: string | undefined;
    readonly repositories: RepositoryStore;
    readonly targets: readonly DeliveryTarget[];
    readonly log: (entry: ServiceLogEntry) => void;
  },
): ServerEvents | undefined {
  const { outbox, repositories, log } = about;
  const webhooks = createWebhooks(options.webhooks, AGENT);
  const { keepDays, takeOverSeconds } = eventsOf(options.events);
  const lookEveryMs = takeOverSeconds * 1000;
  const isAsked = options.events !== undefined && options.events !== false;
  if (options.events === false && webhooks.length > 0)
    throw bad("webhooks are told of events, which are off (events: false)");
  if (!isAsked && webhooks.length === 0 && about.targets.length === 0) return undefined;
  if (outbox === undefined) throw bad("events are kept in a database: set `database`");
  const rowsOf: () => Promise<Outbox> = outbox;
  const events = async (): Promise<EventStore> => (await rowsOf()).events;
  const deliveries = async (): Promise<DeliveryStore> => (await rowsOf()).deliveries;

  const attempts: Record<DeliveryOutcome, number> = { delivered: 0, failed: 0, dead: 0 };
  const queueFor = (target: DeliveryTarget): DeliveryQueue =>
    createDeliveryQueue({
      store: deliveries,
      lastCursor: async () => (await events()).lastCursor(),
      target,
      log,
      onAttempt: (outcome) => void attempts[outcome]++,
      lookEveryMs,
      leaseMarginMs: lookEveryMs / 2,
    });
  const active = [
    ...about.targets,
    ...webhooks.filter(({ isActive }) => isActive).map(({ target }) => target),
  ];
  const idle = webhooks.filter(({ isActive }) => !isActive).map(({ target }) => queueFor(target));
  const queues = new Map(active.map((target) => [target.name, queueFor(target)]));
  const tail = createEventTail({ store: events });
  const publisher = createEventPublisher({
    store: events,
    open: (name) => repositories.open(name),
    onTold: (repository) => {
      tail.wake();
      for (const queue of queues.values()) void queue.run(repository);
    },
    log,
    lookEveryMs,
  });
  let isReady = false;
  const ready = async (): Promise<void> => {
    if (isReady) return;
    for (const queue of [...queues.values(), ...idle]) await queue.register();
    isReady = true;
  };
  const { onReceive, onMove, onReceived } = createEventRecorder({
    store: events,
    database: about.database === undefined ? undefined : databaseName(about.database),
    ready,
    publisher,
    log,
  });

  async function prune(): Promise<void> {
    try {
      const upTo = await (await deliveries()).settledBy([...queues.keys()]);
      const gone = await (await events()).prune(Date.now() - keepDays * DAY_MS, upTo);
      if (gone > 0) log({ level: "info", message: `events: ${gone} from before ${keepDays} days are gone` });
    } catch (error) {
      log({ level: "error", message: "events: old ones cannot be removed", error });
    }
  }

  let pruning: NodeJS.Timeout | undefined;
  let pruned: Promise<void> = Promise.resolve();
  let isClosed = false;
  return {
    first: [onReceived],
    beforeMove: [onReceive],
    last: [onMove],
    attempts,
    reader: { read: (given) => tail.read(given) },
    webhooks: {
      async deliveries(name, { states, max = DELIVERIES_MAX } = {}) {
        const rows = await (await deliveries()).listRecords(webhookTarget(name), {
          max,
          ...(states === undefined ? {} : { states }),
        });
        return rows.map(({ target: _target, ...record }) => record);
      },
      async replay(name, which) {
        const rows = await deliveries();
        const count = await rows.replay(webhookTarget(name), which);
        const queue = queues.get(webhookTarget(name));
        if (queue !== undefined && count > 0)
          for (const { repository } of await rows.listRepositories(webhookTarget(name)))
            void queue.run(repository);
        return count;
      },
    },
    async told(target, repository) {
      await publisher.run(repository);
      await queues.get(target)?.run(repository);
    },
    start() {
      if (pruning !== undefined || isClosed) return;
      ready().catch((error: unknown) =>
        log({ level: "error", message: "events: the database does not answer", error }),
      );
      publisher.start();
      for (const queue of queues.values()) queue.start();
      const begin = (): void => void (pruned = prune());
      begin();
      pruning = setInterval(begin, PRUNE_EVERY_MS);
      pruning.unref();
    },
    async close() {
      isClosed = true;
      clearInterval(pruning);
      tail.close();
      await publisher.close();
      await Promise.all([...queues.values()].map((queue) => queue.close()));
      await pruned;
    },
  };
}

/** Of a server without events. */
export const NO_EVENTS: { readonly reader: EventReader; readonly webhooks: WebhookDeliveries } = {
  reader: {
    read() {
      throw off();
    },
  },
  webhooks: {
    async deliveries() {
      throw off();
    },
    async replay() {
      throw off();
    },
  },
};

function off(): GitwharfError {
  return bad("events are off: set `events: true`");
}

function eventsOf(events: unknown): Required<EventsOptions> {
  if (events === undefined || typeof events === "boolean")
    return { keepDays: KEEP_DAYS, takeOverSeconds: TAKE_OVER_SECONDS };
  if (typeof events !== "object" || events === null || Array.isArray(events))
    throw bad("events is true, false, or { keepDays, takeOverSeconds }");
  const odd = Object.keys(events).find((key) => key !== "keepDays" && key !== "takeOverSeconds");
  if (odd !== undefined) throw bad(`events has no '${odd}'; known are keepDays and takeOverSeconds`);
  const keepDays: unknown = Reflect.get(events, "keepDays") ?? KEEP_DAYS;
  if (typeof keepDays !== "number" || !(keepDays > 0)) throw bad("events.keepDays is a number above 0");
  const takeOverSeconds: unknown = Reflect.get(events, "takeOverSeconds") ?? TAKE_OVER_SECONDS;
  if (
    typeof takeOverSeconds !== "number" ||
    !(takeOverSeconds >= TAKE_OVER_SECONDS_MIN && takeOverSeconds <= TAKE_OVER_SECONDS_MAX)
  )
    throw bad(`events.takeOverSeconds is a number from ${TAKE_OVER_SECONDS_MIN} to ${TAKE_OVER_SECONDS_MAX}`);
  return { keepDays, takeOverSeconds };
}

function bad(why: string): GitwharfError {
  return new GitwharfError("server/bad-configuration", why);
}
