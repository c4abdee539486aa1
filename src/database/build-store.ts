/**
 * Builds in the database: jobs, keyed by app and commit, done in order, one at a time of an app. Who builds has a lease,
 * which it renews; a builder that dies holds nobody up for longer. Every change is one statement, and two unique indexes
 * keep what must not happen from happening, whoever builds. docs/decisions/build-queue.md
 */
import { isConflict } from "./is-conflict.js";
import type { Database } from "./open-database.js";
import type { BuildsTable } from "./schema.js";

export type BuildStatus = BuildsTable["status"];

export interface Build {
  readonly id: string;
  /** The app's id. */
  readonly app: string;
  readonly commit: string;
  readonly refName: string;
  readonly attempt: number;
  readonly position: number;
  readonly place: string;
  readonly status: BuildStatus;
  readonly reason: string;
  readonly claims: number;
  readonly configDigest: string;
  readonly product: BuildProduct | undefined;
  readonly createdAt: number;
  readonly createdBy: string;
  readonly startedAt: number | undefined;
  readonly endedAt: number | undefined;
}

/** What came out of a build: all that a release needs. */
export interface BuildProduct {
  readonly slugPath: string;
  readonly slugBytes: number;
  readonly processTypes: Readonly<Record<string, string>>;
  /** What the buildpack sets where nobody else has. */
  readonly config: Readonly<Record<string, string>>;
  /** What it was recognized as: `Node.js`. */
  readonly framework: string;
}

export interface NewBuild {
  readonly id: string;
  readonly app: string;
  readonly commit: string;
  readonly refName: string;
  readonly place: string;
  readonly configDigest: string;
  readonly createdBy: string;
  readonly leaseMs: number;
}

export interface BuildStore {
  /** At the end of the queue. `isNew` is false when this app and commit has one that is not over: then that. */
  enqueue(build: NewBuild): Promise<{ readonly build: Build; readonly isNew: boolean }>;
  find(id: string): Promise<Build | undefined>;
  /** The last attempt. */
  latest(app: string, commit: string): Promise<Build | undefined>;
  /** Newest first. */
  list(app: string, max?: number): Promise<readonly Build[]>;
  /** Of all apps: how many wait, and how many are at work. */
  countOpen(): Promise<{ readonly queued: number; readonly running: number }>;
  /** Those of the app that come before it and are not over, in their order. */
  before(build: Build): Promise<readonly Build[]>;
  /**
   * The first that can be begun: of this place, first of its app, and none of its app at work.
   * @returns undefined when there is none now
   */
  claim(place: string, owner: string, leaseMs: number): Promise<Build | undefined>;
  /** "cancel": somebody asks for that; "lost": it is another's by now, or over. */
  renew(id: string, owner: string, leaseMs: number): Promise<"renewed" | "cancel" | "lost">;
  /** @returns false when it is no longer the owner's to say */
  finish(
    id: string,
    owner: string,
    end: { readonly status: "succeeded"; readonly product: BuildProduct } | FailedEnd,
  ): Promise<boolean>;
  /** Back into the queue where it was, for the next builder; it does not count as begun. */
  giveBack(id: string, owner: string, leaseMs: number): Promise<void>;
  /** Only as long as it waits. @returns false: it has begun, or is over */
  cancelWaiting(id: string, reason: string): Promise<boolean>;
  /** "asked": its builder ends it. */
  cancel(id: string, reason: string): Promise<"cancelled" | "asked" | "over">;
  /** Ends those that wait, were pushed to the same ref and come before. @returns how many */
  supersede(newer: Build): Promise<number>;
  /** Those that wait at this place are still wanted there. */
  keepPlace(place: string, leaseMs: number): Promise<void>;
  /**
   * What dead builders left: back into the queue, or over, after so many. What waits at a place that is gone is over.
   * @returns how many changed
   */
  settleExpired(claimsMax: number, leaseMs: number): Promise<number>;
}

interface FailedEnd {
  readonly status: "failed" | "cancelled";
  readonly reason: string;
}

const ATTEMPTS_MAX = 50;
/** Of different apps; the first that nobody else takes meanwhile. */
const CANDIDATES_MAX = 20;

export function createBuildStore({ db }: Pick<Database, "db">): BuildStore {
  const find = async (id: string): Promise<Build | undefined> => {
    const row = await db.selectFrom("builds").selectAll().where("id", "=", id).executeTakeFirst();
    return row === undefined ? undefined : buildOf(row);
  };
  const cancelWaiting = async (id: string, reason: string): Promise<boolean> => {
    const cancelled = await db
      .updateTable("builds")
      .set({ status: "cancelled", reason, ended_at: Date.now() })
      .where("id", "=", id)
      .where("status", "=", "queued")
      .executeTakeFirst();
    return cancelled.numUpdatedRows === 1n;
  };
  const attempts = (app: string, commit: string) =>
    db.selectFrom("builds").selectAll().where("app_id", "=", app).where("commit_oid", "=", commit);

  return {
    async enqueue(build) {
      for (let attempt = 1; ; attempt++) {
        const { last } = await db
          .selectFrom("builds")
          .select((column) => column.fn.max<number | null>("position").as("last"))
          .executeTakeFirstOrThrow();
        const before = await attempts(build.app, build.commit)
          .orderBy("attempt", "desc")
          .limit(1)
          .executeTakeFirst();
        if (before !== undefined && isOpen(before.status)) return { build: buildOf(before), isNew: false };
        const now = Date.now();
        const row: BuildsTable = {
          id: build.id,
          app_id: build.app,
          commit_oid: build.commit,
          ref_name: build.refName,
          attempt: (before?.attempt ?? 0) + 1,
          position: (last ?? 0) + 1,
          place: build.place,
          status: "queued",
          reason: "",
          cancel_requested: 0,
          claims: 0,
          lease_owner: null,
          lease_expires_at: now + build.leaseMs,
          config_digest: build.configDigest,
          product: null,
          created_at: now,
          created_by: build.createdBy,
          started_at: null,
          ended_at: null,
        };
        try {
          await db.insertInto("builds").values(row).execute();
          return { build: buildOf(row), isNew: true };
        } catch (error) {
          // Somebody else took the position, or queued the same: look again.
          if (!isConflict(error) || attempt >= ATTEMPTS_MAX) throw error;
        }
      }
    },
    find,
    async latest(app, commit) {
      const row = await attempts(app, commit).orderBy("attempt", "desc").limit(1).executeTakeFirst();
      return row === undefined ? undefined : buildOf(row);
    },
    async list(app, max = 100) {
      const rows = await db
        .selectFrom("builds")
        .selectAll()
        .where("app_id", "=", app)
        .orderBy("position", "desc")
        .limit(max)
        .execute();
      return rows.map(buildOf);
    },
    async countOpen() {
      const rows = await db
        .selectFrom("builds")
        .select(["status", (column) => column.fn.countAll<number | string>().as("count")])
        .where("status", "in", ["queued", "running"])
        .groupBy("status")
        .execute();
      const countOf = (status: BuildStatus): number =>
        Number(rows.find((row) => row.status === status)?.count ?? 0);
      return { queued: countOf("queued"), running: countOf("running") };
    },
    async before(build) {
      const rows = await db
        .selectFrom("builds")
        .selectAll()
        .where("app_id", "=", build.app)
        .where("status", "in", ["queued", "running"])
        .where("position", "<", build.position)
        .orderBy("position")
        .execute();
      return rows.map(buildOf);
    },

    async claim(place, owner, leaseMs) {
      const rows = await db
        .selectFrom("builds")
        .selectAll()
        .where("status", "=", "queued")
        .where("place", "=", place)
        .where(({ not, exists, selectFrom }) =>
          not(
            exists(
              selectFrom("builds as other")
                .select("other.id")
                .whereRef("other.app_id", "=", "builds.app_id")
                .where((other) =>
                  other.or([
                    other("other.status", "=", "running"),
                    other.and([
                      other("other.status", "=", "queued"),
                      other("other.position", "<", other.ref("builds.position")),
                    ]),
                  ]),
                ),
            ),
          ),
        )
        .orderBy("position")
        .limit(CANDIDATES_MAX)
        .execute();
      for (const row of rows) {
        const now = Date.now();
        try {
          const claimed = await db
            .updateTable("builds")
            .set((column) => ({
              status: "running",
              lease_owner: owner,
              lease_expires_at: now + leaseMs,
              claims: column("claims", "+", 1),
              started_at: now,
            }))
            .where("id", "=", row.id)
            .where("status", "=", "queued")
            .executeTakeFirst();
          if (claimed.numUpdatedRows === 1n) return await find(row.id);
        } catch (error) {
          // Another of its app was begun meanwhile.
          if (!isConflict(error)) throw error;
        }
      }
      return undefined;
    },
    async renew(id, owner, leaseMs) {
      const renewed = await db
        .updateTable("builds")
        .set({ lease_expires_at: Date.now() + leaseMs })
        .where("id", "=", id)
        .where("status", "=", "running")
        .where("lease_owner", "=", owner)
        .executeTakeFirst();
      if (renewed.numUpdatedRows !== 1n) return "lost";
      const row = await db
        .selectFrom("builds")
        .select("cancel_requested")
        .where("id", "=", id)
        .executeTakeFirst();
      return row?.cancel_requested === 1 ? "cancel" : "renewed";
    },
    async finish(id, owner, end) {
      const done = await db
        .updateTable("builds")
        .set({
          status: end.status,
          ...(end.status === "succeeded"
            ? { product: JSON.stringify(end.product), reason: "" }
            : { reason: end.reason }),
          lease_owner: null,
          ended_at: Date.now(),
        })
        .where("id", "=", id)
        .where("status", "=", "running")
        .where("lease_owner", "=", owner)
        .executeTakeFirst();
      return done.numUpdatedRows === 1n;
    },
    async giveBack(id, owner, leaseMs) {
      await db
        .updateTable("builds")
        .set((column) => ({
          status: "queued",
          lease_owner: null,
          lease_expires_at: Date.now() + leaseMs,
          claims: column("claims", "-", 1),
          started_at: null,
        }))
        .where("id", "=", id)
        .where("status", "=", "running")
        .where("lease_owner", "=", owner)
        .execute();
    },
    cancelWaiting,
    async cancel(id, reason) {
      if (await cancelWaiting(id, reason)) return "cancelled";
      const asked = await db
        .updateTable("builds")
        .set({ cancel_requested: 1, reason })
        .where("id", "=", id)
        .where("status", "=", "running")
        .executeTakeFirst();
      return asked.numUpdatedRows === 1n ? "asked" : "over";
    },
    async supersede(newer) {
      const done = await db
        .updateTable("builds")
        .set({
          status: "superseded",
          reason: `${newer.commit.slice(0, 7)} was pushed after it`,
          ended_at: Date.now(),
        })
        .where("app_id", "=", newer.app)
        .where("ref_name", "=", newer.refName)
        .where("status", "=", "queued")
        .where("position", "<", newer.position)
        .executeTakeFirst();
      return Number(done.numUpdatedRows);
    },
    async keepPlace(place, leaseMs) {
      await db
        .updateTable("builds")
        .set({ lease_expires_at: Date.now() + leaseMs })
        .where("place", "=", place)
        .where("status", "=", "queued")
        .execute();
    },
    async settleExpired(claimsMax, leaseMs) {
      const now = Date.now();
      const expired = (status: "queued" | "running") =>
        db.updateTable("builds").where("status", "=", status).where("lease_expires_at", "<", now);
      const over = { lease_owner: null, ended_at: now };
      const steps = [
        expired("queued").set({ ...over, status: "failed", reason: "its builder has gone" }),
        expired("running")
          .set({ ...over, status: "cancelled" })
          .where("cancel_requested", "=", 1),
        expired("running")
          .set({ ...over, status: "failed", reason: `its builder died, ${claimsMax} times` })
          .where("claims", ">=", claimsMax),
        expired("running").set({ status: "queued", lease_owner: null, lease_expires_at: now + leaseMs }),
      ];
      let changed = 0;
      for (const step of steps) changed += Number((await step.executeTakeFirst()).numUpdatedRows);
      return changed;
    },
  };
}

/** Is it still to be done, or at work? */
export function isOpen(status: BuildStatus): status is "queued" | "running" {
  return status === "queued" || status === "running";
}

function buildOf(row: BuildsTable): Build {
  return {
    id: row.id,
    app: row.app_id,
    commit: row.commit_oid,
    refName: row.ref_name,
    attempt: row.attempt,
    position: row.position,
    place: row.place,
    status: row.status,
    reason: row.reason,
    claims: row.claims,
    configDigest: row.config_digest,
    product: row.product === null ? undefined : (JSON.parse(row.product) as BuildProduct),
    createdAt: row.created_at,
    createdBy: row.created_by,
    startedAt: row.started_at ?? undefined,
    endedAt: row.ended_at ?? undefined,
  };
}
