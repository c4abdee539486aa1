/** Releases in the database: what an app runs, or ran, in the order of their numbers. Every change is one statement. */
import { randomUUID } from "node:crypto";
import { isConflict } from "./is-conflict.js";
import type { Database } from "./open-database.js";
import type { ReleasesTable } from "./schema.js";

/** "created": recorded, and not launched so far; "current": it is what runs; "replaced": it was. */
export type ReleaseStatus = ReleasesTable["status"];

export interface Release {
  readonly id: string;
  /** The app's id. */
  readonly app: string;
  /** `v3` is 3. */
  readonly number: number;
  readonly commit: string;
  readonly buildId: string | undefined;
  /** A tar of the build directory. Empty: there is none, the build failed. */
  readonly slugPath: string;
  /** Name → command. Of a static site `static`, whose text is the directory in the slug that is served as it is. */
  readonly processTypes: Readonly<Record<string, string>>;
  readonly config: Readonly<Record<string, string>>;
  readonly status: ReleaseStatus;
  /** `Deploy 1234567`, `Rollback to v2`, `Set DATABASE_URL` */
  readonly description: string;
  readonly createdAt: number;
  readonly createdBy: string;
}

export type NewRelease = Omit<Release, "id" | "number" | "createdAt">;

export interface ReleaseStore {
  /** With the next number. A build has one release: when it has it already, that. */
  add(release: NewRelease): Promise<Release>;
  find(app: string, number: number): Promise<Release | undefined>;
  ofBuild(buildId: string): Promise<Release | undefined>;
  /** The one that runs. */
  current(app: string): Promise<Release | undefined>;
  /** Newest first. */
  list(app: string, max?: number): Promise<readonly Release[]>;
  /** "current" replaces the one that was; both in one statement, so that there is never more than one. */
  setStatus(id: string, status: ReleaseStatus): Promise<void>;
}

/** Others who add at the same time take the number that was looked up. */
const ATTEMPTS_MAX = 50;

export function createReleaseStore({ db }: Pick<Database, "db">): ReleaseStore {
  const ofBuild = async (buildId: string): Promise<Release | undefined> => {
    const row = await db
      .selectFrom("releases")
      .selectAll()
      .where("build_id", "=", buildId)
      .executeTakeFirst();
    return row === undefined ? undefined : releaseOf(row);
  };
  return {
    async add(release) {
      for (let attempt = 1; ; attempt++) {
        const { last } = await db
          .selectFrom("releases")
          .select((column) => column.fn.max<number | null>("number").as("last"))
          .where("app_id", "=", release.app)
          .executeTakeFirstOrThrow();
        const row: ReleasesTable = {
          id: randomUUID(),
          app_id: release.app,
          number: (last ?? 0) + 1,
          commit_oid: release.commit,
          build_id: release.buildId ?? null,
          slug_path: release.slugPath,
          process_types: JSON.stringify(release.processTypes),
          config: JSON.stringify(release.config),
          status: release.status,
          description: release.description,
          created_at: Date.now(),
          created_by: release.createdBy,
        };
        try {
          await db.insertInto("releases").values(row).execute();
          return releaseOf(row);
        } catch (error) {
          if (!isConflict(error) || attempt >= ATTEMPTS_MAX) throw error;
        }
        const made = release.buildId === undefined ? undefined : await ofBuild(release.buildId);
        if (made !== undefined) return made;
      }
    },
    async find(app, number) {
      const found = db.selectFrom("releases").selectAll().where("app_id", "=", app);
      const row = await found.where("number", "=", number).executeTakeFirst();
      return row === undefined ? undefined : releaseOf(row);
    },
    ofBuild,
    async current(app) {
      const found = db.selectFrom("releases").selectAll().where("app_id", "=", app);
      const row = await found
        .where("status", "=", "current")
        .orderBy("number", "desc")
        .limit(1)
        .executeTakeFirst();
      return row === undefined ? undefined : releaseOf(row);
    },
    async list(app, max = 100) {
      const rows = await db
        .selectFrom("releases")
        .selectAll()
        .where("app_id", "=", app)
        .orderBy("number", "desc")
        .limit(max)
        .execute();
      return rows.map(releaseOf);
    },
    async setStatus(id, status) {
      if (status !== "current") {
        await db.updateTable("releases").set({ status }).where("id", "=", id).execute();
        return;
      }
      await db
        .updateTable("releases")
        .set((column) => ({
          status: column
            .case()
            .when("id", "=", id)
            .then("current" as const)
            .else("replaced" as const)
            .end(),
        }))
        .where((column) =>
          column.or([
            column("id", "=", id),
            column.and([
              column("status", "=", "current"),
              column(
                "app_id",
                "=",
                column.selectFrom("releases as this").select("this.app_id").where("this.id", "=", id),
              ),
            ]),
          ]),
        )
        .execute();
    },
  };
}

function releaseOf(row: ReleasesTable): Release {
  return {
    id: row.id,
    app: row.app_id,
    number: row.number,
    commit: row.commit_oid,
    buildId: row.build_id ?? undefined,
    slugPath: row.slug_path,
    processTypes: JSON.parse(row.process_types) as Record<string, string>,
    config: JSON.parse(row.config) as Record<string, string>,
    status: row.status,
    description: row.description,
    createdAt: row.created_at,
    createdBy: row.created_by,
  };
}
