/**
 * What an application is still to be told of pushes, in order per repository: plain rows. Every change is one statement.
 * Who delivers is told apart by leases, so that several processes and machines may share a database.
 */
import { randomUUID } from "node:crypto";
import { isConflict } from "./is-conflict.js";
import type { Database } from "./open-database.js";
import type { DeliveriesTable } from "./schema.js";

/** A ref that moves. */
export interface NewDelivery {
  readonly refName: string;
  readonly oldOid: string;
  readonly newOid: string;
}

export interface DeliveryOrigin {
  readonly repository: string;
  readonly pushId: string;
  /** Empty: nobody has signed in. */
  readonly user: string;
  /** The application's. */
  readonly repositoryId: string;
}

export interface Delivery extends NewDelivery, DeliveryOrigin {
  readonly id: string;
  /** False: it was to move when this was written. */
  readonly hasMoved: boolean;
  readonly attempts: number;
  readonly notBefore: number;
  readonly createdAt: number;
}

export interface DeliveryStore {
  /** At the end of the repository's list, in this order. */
  add(origin: DeliveryOrigin, refs: readonly NewDelivery[], hasMoved: boolean): Promise<void>;
  /** Those of a push, or the one, have moved. */
  markMoved(which: { readonly pushId: string } | { readonly id: string }): Promise<void>;
  /** Those of a push that were to move, or the one, whatever it is. */
  remove(which: { readonly unmovedOf: string } | { readonly id: string }): Promise<void>;
  /** Of those refs, and not known to have moved. */
  listUnmoved(repository: string, refNames: readonly string[]): Promise<readonly Delivery[]>;
  /** What comes next. */
  first(repository: string): Promise<Delivery | undefined>;
  retryLater(id: string, notBefore: number): Promise<void>;
  /** Those that have something to deliver. */
  listRepositories(): Promise<readonly string[]>;
  /** In order; of every repository, or of one. */
  list(repository?: string): Promise<readonly Delivery[]>;
  /** @returns false while another owner has it */
  lease(repository: string, owner: string, forMs: number): Promise<boolean>;
  release(repository: string, owner: string): Promise<void>;
}

/** SQLite takes 32,766 values in a statement. */
const ROWS_AT_ONCE = 500;
/** Others who write at the same time take the place that was looked up. */
const ATTEMPTS_MAX = 50;

export function createDeliveryStore({ db }: Pick<Database, "db">): DeliveryStore {
  const addSome = async (
    origin: DeliveryOrigin,
    refs: readonly NewDelivery[],
    hasMoved: boolean,
  ): Promise<void> => {
    const { repository, pushId, user, repositoryId } = origin;
    for (let attempt = 1; ; attempt++) {
      const { last } = await db
        .selectFrom("deliveries")
        .select((column) => column.fn.max<number | null>("position").as("last"))
        .where("repository", "=", repository)
        .executeTakeFirstOrThrow();
      const rows = refs.map(
        (ref, i): DeliveriesTable => ({
          id: randomUUID(),
          repository,
          position: (last ?? 0) + 1 + i,
          push_id: pushId,
          user_name: user,
          repository_id: repositoryId,
          ref_name: ref.refName,
          old_oid: ref.oldOid,
          new_oid: ref.newOid,
          has_moved: hasMoved ? 1 : 0,
          attempts: 0,
          not_before: 0,
          created_at: Date.now(),
        }),
      );
      try {
        await db.insertInto("deliveries").values(rows).execute();
        return;
      } catch (error) {
        if (!isConflict(error) || attempt >= ATTEMPTS_MAX) throw error;
      }
    }
  };
  return {
    async add(origin, refs, hasMoved) {
      for (let at = 0; at < refs.length; at += ROWS_AT_ONCE)
        await addSome(origin, refs.slice(at, at + ROWS_AT_ONCE), hasMoved);
    },
    async markMoved(which) {
      const update = db.updateTable("deliveries").set({ has_moved: 1 });
      await ("id" in which
        ? update.where("id", "=", which.id)
        : update.where("push_id", "=", which.pushId)
      ).execute();
    },
    async remove(which) {
      const removal = db.deleteFrom("deliveries");
      await ("id" in which
        ? removal.where("id", "=", which.id)
        : removal.where("push_id", "=", which.unmovedOf).where("has_moved", "=", 0)
      ).execute();
    },
    async listUnmoved(repository, refNames) {
      const wanted = new Set(refNames);
      const rows = await db
        .selectFrom("deliveries")
        .selectAll()
        .where("repository", "=", repository)
        .where("has_moved", "=", 0)
        .orderBy("position")
        .execute();
      return rows.filter((row) => wanted.has(row.ref_name)).map(deliveryOf);
    },
    async first(repository) {
      const row = await db
        .selectFrom("deliveries")
        .selectAll()
        .where("repository", "=", repository)
        .orderBy("position")
        .limit(1)
        .executeTakeFirst();
      return row === undefined ? undefined : deliveryOf(row);
    },
    async retryLater(id, notBefore) {
      await db
        .updateTable("deliveries")
        .set((column) => ({ attempts: column("attempts", "+", 1), not_before: notBefore }))
        .where("id", "=", id)
        .execute();
    },
    async listRepositories() {
      const rows = await db.selectFrom("deliveries").select("repository").distinct().execute();
      return rows.map(({ repository }) => repository);
    },
    async list(repository) {
      const all = db.selectFrom("deliveries").selectAll();
      const some = repository === undefined ? all : all.where("repository", "=", repository);
      return (await some.orderBy("repository").orderBy("position").execute()).map(deliveryOf);
    },
    async lease(repository, owner, forMs) {
      const now = Date.now();
      const lease = { owner, expires_at: now + forMs };
      const taken = await db
        .insertInto("delivery_leases")
        .values({ repository, ...lease })
        .onConflict((conflict) =>
          conflict
            .column("repository")
            .doUpdateSet(lease)
            .where((column) =>
              column.or([
                column("delivery_leases.owner", "=", owner),
                column("delivery_leases.expires_at", "<", now),
              ]),
            ),
        )
        .executeTakeFirst();
      return taken.numInsertedOrUpdatedRows === 1n;
    },
    async release(repository, owner) {
      await db
        .deleteFrom("delivery_leases")
        .where("repository", "=", repository)
        .where("owner", "=", owner)
        .execute();
    },
  };
}

function deliveryOf(row: DeliveriesTable): Delivery {
  return {
    id: row.id,
    repository: row.repository,
    pushId: row.push_id,
    user: row.user_name,
    repositoryId: row.repository_id,
    refName: row.ref_name,
    oldOid: row.old_oid,
    newOid: row.new_oid,
    hasMoved: row.has_moved === 1,
    attempts: row.attempts,
    notBefore: row.not_before,
    createdAt: row.created_at,
  };
}
