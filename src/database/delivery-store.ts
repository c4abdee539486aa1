/**
 * How far each target (a webhook, an application) has been told of events, in order per repository; what became of
 * deliveries; and who delivers: that is told apart by leases. Plain rows; every change is one statement.
 */
import { eventOf, isTold, type StoredEvent, type ToldEvent } from "./event-store.js";
import type { Database } from "./open-database.js";
import type { DeliveryRecordsTable, EventsTable } from "./schema.js";

/** A Gitorious application, as a target. */
export const GITORIOUS_TARGET = "gitorious";

export function webhookTarget(name: string): string {
  return `webhook:${name}`;
}

export interface PendingDelivery {
  readonly event: ToldEvent;
  /** That have failed. */
  readonly attempts: number;
  readonly notBefore: number;
}

export type DeliveryState = DeliveryRecordsTable["state"];

export interface DeliveryRecord {
  readonly target: string;
  readonly eventId: string;
  readonly repository: string;
  readonly cursor: number;
  /** "failed": it is tried again; "dead": it is not; "replay": it is to be sent once more. */
  readonly state: DeliveryState;
  readonly attempts: number;
  readonly status: number | undefined;
  readonly why: string | undefined;
  readonly at: number;
}

/** A lease that somebody has. */
export interface Lease {
  readonly target: string;
  readonly repository: string;
  readonly owner: string;
}

/** Which deliveries are to be sent once more. */
export type Replay = { readonly eventId: string } | { readonly state: "dead" } | { readonly after: number };

export interface DeliveryStore {
  /** Of a new one: it is told of what comes from now on. */
  register(target: string): Promise<void>;
  /** What comes next. */
  next(target: string, repository: string): Promise<PendingDelivery | undefined>;
  /** @returns false while another owner has it */
  lease(lease: Lease, forMs: number): Promise<boolean>;
  release(lease: Lease): Promise<void>;
  /** That one is done with. Nothing happens without the lease. */
  advance(lease: Lease, cursor: number): Promise<void>;
  /** The next one has failed. */
  retryLater(lease: Lease, notBefore: number): Promise<void>;
  /** Those that have something to deliver; the cursor of the first, unless all of it is to be sent once more. */
  listRepositories(
    target: string,
  ): Promise<readonly { readonly repository: string; readonly first: number | undefined }[]>;
  /** Of every repository, in order. */
  list(target: string): Promise<readonly PendingDelivery[]>;
  /** Notes up to where a target has been told of everything, so that nobody looks there again. */
  settle(target: string, upTo: number): Promise<void>;
  /** The least of theirs. */
  settledBy(targets: readonly string[]): Promise<number>;
  record(record: DeliveryRecord): Promise<void>;
  /** The latest events first. */
  listRecords(
    target: string,
    options: { readonly states?: readonly DeliveryState[]; readonly max: number },
  ): Promise<readonly DeliveryRecord[]>;
  /** What is to be sent once more. */
  nextReplay(target: string, repository: string): Promise<ToldEvent | undefined>;
  /** @returns how many are sent once more */
  replay(target: string, which: Replay): Promise<number>;
  /** Never tell of that one. */
  skip(target: string, event: ToldEvent): Promise<void>;
}

type EventRow = EventsTable & { readonly attempts: number; readonly not_before: number };

export function createDeliveryStore({ db, sql }: Pick<Database, "db" | "sql">): DeliveryStore {
  /** With what it takes to tell which events a target is still to be told of. */
  const pending = (target: string) => sql`
    from events
    join delivery_targets on delivery_targets.name = ${target}
    left join delivery_progress on delivery_progress.target = ${target}
      and delivery_progress.repository = events.repository
    where events.cursor > delivery_targets.since
      and (delivery_progress.cursor is null or events.cursor > delivery_progress.cursor)
      and not exists (
        select 1 from delivery_records
        where delivery_records.target = ${target} and delivery_records.event_id = events.id
          and delivery_records.state = 'skipped')`;
  const columns = sql`events.*, coalesce(delivery_progress.attempts, 0) as attempts,
    coalesce(delivery_progress.not_before, 0) as not_before`;
  const holding = ({ target, repository, owner }: Lease) =>
    db
      .updateTable("delivery_progress")
      .where("target", "=", target)
      .where("repository", "=", repository)
      .where("owner", "=", owner);

  return {
    async register(target) {
      await sql`insert into delivery_targets (name, since)
        select ${target}, coalesce(max(cursor), 0) from events where true
        on conflict (name) do nothing`.execute(db);
    },
    async next(target, repository) {
      const { rows } = await sql<EventRow>`select ${columns} ${pending(target)}
        and events.repository = ${repository} order by events.cursor limit 1`.execute(db);
      return rows.flatMap(pendingOf)[0];
    },
    async lease({ target, repository, owner }, forMs) {
      const now = Date.now();
      const taken = { owner, expires_at: now + forMs };
      const { numInsertedOrUpdatedRows } = await db
        .insertInto("delivery_progress")
        .values({ target, repository, cursor: 0, attempts: 0, not_before: 0, ...taken })
        .onConflict((conflict) =>
          conflict
            .columns(["target", "repository"])
            .doUpdateSet(taken)
            .where((column) =>
              column.or([
                column("delivery_progress.owner", "=", owner),
                column("delivery_progress.expires_at", "<", now),
              ]),
            ),
        )
        .executeTakeFirstOrThrow();
      return numInsertedOrUpdatedRows === 1n;
    },
    async release(lease) {
      await holding(lease).set({ owner: "", expires_at: 0 }).execute();
    },
    async advance(lease, cursor) {
      await holding(lease)
        .set({ cursor, attempts: 0, not_before: 0 })
        .where("delivery_progress.cursor", "<", cursor)
        .execute();
    },
    async retryLater(lease, notBefore) {
      await holding(lease)
        .set((column) => ({ attempts: column("attempts", "+", 1), not_before: notBefore }))
        .execute();
    },
    async listRepositories(target) {
      const { rows } = await sql<{ repository: string; first: number | null }>`
        select events.repository as repository, min(events.cursor) as first ${pending(target)}
        group by events.repository
        union all select distinct repository, cast(null as bigint) as first from delivery_records
        where target = ${target} and state = 'replay'`.execute(db);
      return rows.map(({ repository, first }) => ({ repository, first: first ?? undefined }));
    },
    async list(target) {
      const { rows } = await sql<EventRow>`select ${columns} ${pending(target)}
        order by events.repository, events.cursor`.execute(db);
      const found = rows.flatMap(pendingOf);
      // What has failed is the first.
      return found.map((one, i) =>
        one.event.repository === found[i - 1]?.event.repository ? { ...one, attempts: 0, notBefore: 0 } : one,
      );
    },
    async settle(target, upTo) {
      await db
        .updateTable("delivery_targets")
        .set({ since: upTo })
        .where("name", "=", target)
        .where("since", "<", upTo)
        .execute();
    },
    async settledBy(targets) {
      if (targets.length === 0) return Number.MAX_SAFE_INTEGER;
      const { least } = await db
        .selectFrom("delivery_targets")
        .select((column) => column.fn.min<number | null>("since").as("least"))
        .where("name", "in", targets)
        .executeTakeFirstOrThrow();
      return least ?? 0;
    },
    async record({ target, eventId, repository, cursor, state, attempts, status, why, at }) {
      const noted = { state, attempts, status: status ?? null, why: why ?? null, at };
      await db
        .insertInto("delivery_records")
        .values({ target, event_id: eventId, repository, cursor, ...noted })
        .onConflict((conflict) => conflict.columns(["target", "event_id"]).doUpdateSet(noted))
        .execute();
    },
    async listRecords(target, { states, max }) {
      const all = db.selectFrom("delivery_records").selectAll().where("target", "=", target);
      const some = states === undefined ? all : all.where("state", "in", states);
      return (await some.orderBy("cursor", "desc").limit(max).execute()).map(recordOf);
    },
    async nextReplay(target, repository) {
      const row = await db
        .selectFrom("events")
        .innerJoin("delivery_records", "delivery_records.event_id", "events.id")
        .selectAll("events")
        .where("delivery_records.target", "=", target)
        .where("delivery_records.state", "=", "replay")
        .where("delivery_records.repository", "=", repository)
        .orderBy("delivery_records.cursor")
        .limit(1)
        .executeTakeFirst();
      const event = row === undefined ? undefined : eventOf(row);
      return event !== undefined && isTold(event) ? event : undefined;
    },
    async replay(target, which) {
      const update = db
        .updateTable("delivery_records")
        .set({ state: "replay" })
        .where("target", "=", target)
        // What is being tried is sent in any case.
        .where("state", "in", ["delivered", "dead"]);
      const { numUpdatedRows } = await ("eventId" in which
        ? update.where("event_id", "=", which.eventId)
        : "state" in which
          ? update.where("state", "=", which.state)
          : update.where("cursor", ">", which.after)
      ).executeTakeFirstOrThrow();
      return Number(numUpdatedRows);
    },
    async skip(target, { id: eventId, repository, cursor }) {
      await this.record({
        target,
        eventId,
        repository,
        cursor,
        state: "skipped",
        attempts: 0,
        status: undefined,
        why: undefined,
        at: Date.now(),
      });
      // What has failed may have been this one.
      await db
        .updateTable("delivery_progress")
        .set({ attempts: 0, not_before: 0 })
        .where("target", "=", target)
        .where("repository", "=", repository)
        .execute();
    },
  };
}

function pendingOf(row: EventRow): readonly PendingDelivery[] {
  const event: StoredEvent = eventOf(row);
  return isTold(event) ? [{ event, attempts: row.attempts, notBefore: row.not_before }] : [];
}

function recordOf(row: DeliveryRecordsTable): DeliveryRecord {
  return {
    target: row.target,
    eventId: row.event_id,
    repository: row.repository,
    cursor: row.cursor,
    state: row.state,
    attempts: row.attempts,
    status: row.status ?? undefined,
    why: row.why ?? undefined,
    at: row.at,
  };
}
