/**
 * The outbox: refs that are to move, those that have, and, once they have a cursor, the events that everybody is told of.
 * Plain rows; every change is one statement, so that several processes and machines may share a database.
 *
 * An event gets its cursor only when all before it in its repository have theirs or are struck out. Cursors are given one
 * after the other: who has seen one will see no lesser one appear.
 */
import { randomUUID } from "node:crypto";
import { othersTurn } from "../base/others-turn.js";
import { affect, first } from "./database-work.js";
import { isConflict } from "./is-conflict.js";
import type { Database } from "./open-database.js";
import { isPacked, unpacked } from "./packed-events.js";
import type { EventsTable } from "./schema.js";

/** A ref that moves. */
export interface NewEvent {
  readonly refName: string;
  readonly oldOid: string;
  readonly newOid: string;
  /** undefined: nobody has looked. */
  readonly forced?: boolean | undefined;
}

/** What all refs of one transaction share. */
export interface EventOrigin {
  readonly repository: string;
  readonly pushId: string;
  /** Empty: nobody has signed in. */
  readonly user: string;
  /** The push may be making its repository. @default false */
  readonly isFirst?: boolean;
  readonly about: EventAbout;
}

/** What else is known of the push. */
export interface EventAbout {
  /** How its user was told. */
  readonly method?: string;
  readonly credentialId?: string;
  readonly transport?: string;
  readonly address?: string;
  readonly requestId?: string;
  readonly options?: readonly string[];
  /** What `resolveRepository` told of the repository. */
  readonly facts?: Readonly<Record<string, string>>;
}

export interface StoredEvent {
  readonly id: string;
  readonly repository: string;
  readonly pushId: string;
  readonly user: string;
  readonly about: EventAbout;
  readonly refName: string;
  readonly oldOid: string;
  readonly newOid: string;
  readonly forced: boolean | undefined;
  /** False: it was to move when this was written. */
  readonly hasMoved: boolean;
  readonly isFirst: boolean;
  readonly createdAt: number;
  /** undefined: nobody is told of it yet. */
  readonly cursor: number | undefined;
}

/** One that has its cursor. */
export type ToldEvent = StoredEvent & { readonly cursor: number };

export interface EventStore {
  /** At the end of the repository's list, in this order. */
  add(origin: EventOrigin, refs: readonly NewEvent[], hasMoved: boolean): Promise<void>;
  /** Those of a push, or the one, have moved. @returns how many those are */
  markMoved(which: { readonly pushId: string } | { readonly id: string }): Promise<number>;
  /** Of which refs a push has events. */
  namesOf(pushId: string): Promise<readonly string[]>;
  /** The one did not move. One that is known to have moved stays. */
  remove(id: string): Promise<void>;
  /** Of those refs, and not known to have moved. */
  listUnmoved(repository: string, refNames: readonly string[]): Promise<readonly StoredEvent[]>;
  /** What gets its cursor next. */
  firstUntold(repository: string): Promise<StoredEvent | undefined>;
  /** In order; of every repository, or of one. */
  listUntold(repository?: string): Promise<readonly StoredEvent[]>;
  listRepositoriesUntold(): Promise<readonly string[]>;
  /** Gives cursors to those that come next in a repository and have moved. @returns how many; 0: the next has not, yet */
  tell(repository: string): Promise<number>;
  /** In order. */
  list(after: number, max: number): Promise<readonly ToldEvent[]>;
  find(id: string): Promise<StoredEvent | undefined>;
  /** 0: there has been none. */
  lastCursor(): Promise<number>;
  /** Those from before a time, as far as this cursor; the last of all stays. @returns how many went */
  prune(before: number, upTo: number): Promise<number>;
}

/** SQLite takes 32,766 values in a statement, and the process does nothing else meanwhile. */
const ROWS_AT_ONCE = 250;
/** Others who write at the same time take the place that was looked up. */
const ATTEMPTS_MAX = 50;

export function createEventStore({ db, sql, run }: Pick<Database, "db" | "sql" | "run">): EventStore {
  const addSome = async (
    origin: EventOrigin,
    refs: readonly NewEvent[],
    hasMoved: boolean,
  ): Promise<void> => {
    const { repository } = origin;
    await retryConflicts(async () => {
      const { last } = await db
        .selectFrom("events")
        .select((column) => column.fn.max<number | null>("position").as("last"))
        .where("repository", "=", repository)
        .executeTakeFirstOrThrow();
      const rows = refs.map((ref, i) => eventRow(origin, ref, { position: (last ?? 0) + 1 + i, hasMoved }));
      await db.insertInto("events").values(rows).execute();
    });
  };
  const untold = () => db.selectFrom("events").selectAll().where("cursor", "is", null);
  return {
    async add(origin, refs, hasMoved) {
      for (let at = 0; at < refs.length; at += ROWS_AT_ONCE) {
        if (at > 0) await othersTurn();
        await addSome(origin, refs.slice(at, at + ROWS_AT_ONCE), hasMoved);
      }
    },
    async markMoved(which) {
      const update = db.updateTable("events").set({ has_moved: 1 });
      const { numUpdatedRows } = await ("id" in which
        ? update.where("id", "=", which.id)
        : update.where("push_id", "=", which.pushId)
      ).executeTakeFirstOrThrow();
      return Number(numUpdatedRows);
    },
    async namesOf(pushId) {
      const rows = await db.selectFrom("events").select("ref_name").where("push_id", "=", pushId).execute();
      return rows.map(({ ref_name: name }) => name);
    },
    async remove(id) {
      await db.deleteFrom("events").where("id", "=", id).where("has_moved", "=", 0).execute();
    },
    async listUnmoved(repository, refNames) {
      const wanted = new Set(refNames);
      const rows = await untold()
        .where("repository", "=", repository)
        .where("has_moved", "=", 0)
        .orderBy("position")
        .execute();
      return rows.filter((row) => wanted.has(row.ref_name)).map(eventOf);
    },
    async firstUntold(repository) {
      const row = await untold()
        .where("repository", "=", repository)
        .orderBy("position")
        .limit(1)
        .executeTakeFirst();
      return row === undefined ? undefined : eventOf(row);
    },
    async listUntold(repository) {
      const some = repository === undefined ? untold() : untold().where("repository", "=", repository);
      const rows = await some.orderBy("repository").orderBy("position").execute();
      return rows.flatMap((row) => (isPacked(row) ? packedEvents(row) : [eventOf(row)]));
    },
    async listRepositoriesUntold() {
      const rows = await db
        .selectFrom("events")
        .select("repository")
        .distinct()
        .where("cursor", "is", null)
        .execute();
      return rows.map(({ repository }) => repository);
    },
    tell: (repository) =>
      retryConflicts(async () => {
        const found = await untold()
          .where("repository", "=", repository)
          .orderBy("position")
          .limit(ROWS_AT_ONCE)
          .execute();
        const [head] = found;
        if (head !== undefined && isPacked(head)) return tellPacked(head);
        const open = found.findIndex((row) => row.has_moved !== 1);
        const next = open === -1 ? found : found.slice(0, open);
        if (next.length === 0) return 0;
        const last = await lastCursor();
        const ids = next.map(({ id }) => id);
        const whens = ids.map((id, i) => sql`when ${id} then ${sql.lit(last + 1 + i)}`);
        // Whoever tells others at the same time has taken the first of these numbers; then we look again.
        const { numUpdatedRows } = await db
          .updateTable("events")
          .set({ cursor: sql<number>`case id ${sql.join(whens, sql` `)} end` })
          .where("id", "in", ids)
          .where("cursor", "is", null)
          .executeTakeFirstOrThrow();
        return Number(numUpdatedRows);
      }),
    async list(after, max) {
      const rows = await db
        .selectFrom("events")
        .selectAll()
        .where("cursor", ">", after)
        .orderBy("cursor")
        .limit(max)
        .execute();
      return rows.map(eventOf).filter(isTold);
    },
    async find(id) {
      const row = await db.selectFrom("events").selectAll().where("id", "=", id).executeTakeFirst();
      return row === undefined ? undefined : eventOf(row);
    },
    lastCursor,
    async prune(before, upTo) {
      const { numDeletedRows } = await db
        .deleteFrom("events")
        .where("created_at", "<", before)
        .where("cursor", "<=", upTo)
        // The next cursor follows from the last.
        .where("cursor", "<", (inner) =>
          inner
            .selectFrom("events as all")
            .select((column) => column.fn.max<number>("all.cursor").as("last")),
        )
        .executeTakeFirstOrThrow();
      return Number(numDeletedRows);
    },
  };

  /** @returns how many; others may have been quicker, and then there is something else to be told, or was */
  function tellPacked(row: EventsTable): Promise<number> {
    return run("transaction", function* () {
      const gone = db.deleteFrom("events").where("id", "=", row.id).where("cursor", "is", null);
      if ((yield* affect(gone)) === 0) return 1;
      const last = yield* first(
        db.selectFrom("events").select((column) => column.fn.max<number | null>("cursor").as("cursor")),
      );
      const { origin, refs } = unpacked(row);
      const rows = refs.map((ref, i) => {
        const cursor = (last?.cursor ?? 0) + 1 + i;
        // Its order is told: it needs a place that nobody else has, and that is not the last.
        const place = { position: -cursor, hasMoved: true };
        return { ...eventRow(origin, ref, place), cursor, created_at: row.created_at };
      });
      yield* affect(db.insertInto("events").values(rows));
      return rows.length;
    });
  }

  async function lastCursor(): Promise<number> {
    const { cursor } = await db
      .selectFrom("events")
      .select((column) => column.fn.max<number | null>("cursor").as("cursor"))
      .executeTakeFirstOrThrow();
    return cursor ?? 0;
  }
}

async function retryConflicts<Result>(write: () => Promise<Result>): Promise<Result> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await write();
    } catch (error) {
      if (!isConflict(error) || attempt >= ATTEMPTS_MAX) throw error;
    }
  }
}

/** Nobody is told of it yet. */
export function eventRow(
  { repository, pushId, user, about, isFirst = false }: EventOrigin,
  { refName, oldOid, newOid, forced }: NewEvent,
  { position, hasMoved }: { readonly position: number; readonly hasMoved: boolean },
): EventsTable {
  return {
    id: randomUUID(),
    repository,
    position,
    cursor: null,
    push_id: pushId,
    ref_name: refName,
    old_oid: oldOid,
    new_oid: newOid,
    forced: forced === undefined ? null : Number(forced),
    user_name: user,
    about: JSON.stringify(about),
    has_moved: Number(hasMoved),
    is_first: Number(isFirst),
    created_at: Date.now(),
  };
}

export function eventOf(row: EventsTable): StoredEvent {
  return {
    id: row.id,
    repository: row.repository,
    pushId: row.push_id,
    user: row.user_name,
    about: JSON.parse(row.about) as EventAbout,
    refName: row.ref_name,
    oldOid: row.old_oid,
    newOid: row.new_oid,
    forced: row.forced === null ? undefined : row.forced === 1,
    hasMoved: row.has_moved !== 0,
    isFirst: row.is_first === 1,
    createdAt: row.created_at,
    cursor: row.cursor ?? undefined,
  };
}

/** As they will be, but for their ids. */
function packedEvents(row: EventsTable): readonly StoredEvent[] {
  const { origin, refs } = unpacked(row);
  return refs.map((ref, i) => {
    const made = eventRow(origin, ref, { position: row.position, hasMoved: true });
    return eventOf({ ...made, id: `${row.id}/${i}`, created_at: row.created_at });
  });
}

export function isTold(event: StoredEvent): event is ToldEvent {
  return event.cursor !== undefined;
}
