/** Apps and their configuration in the database: plain rows. What a name may be is known to `deploy/state/`. */
import { randomUUID } from "node:crypto";
import type { Database } from "./open-database.js";
import type { AppsTable } from "./schema.js";

export interface App {
  readonly id: string;
  readonly name: string;
  readonly repository: string;
  readonly branch: string;
  /** How many processes of which type; undefined: nobody has said. */
  readonly formation: Readonly<Record<string, number>> | undefined;
  readonly createdAt: number;
  /** Empty: nobody had signed in. */
  readonly createdBy: string;
}

export type AppConfig = Readonly<Record<string, string>>;

export interface AppStore {
  /** "taken": there is one of that name, or one that is deployed from that repository. */
  add(app: Pick<App, "name" | "repository" | "branch" | "createdBy">): Promise<App | "taken">;
  find(name: string): Promise<App | undefined>;
  findById(id: string): Promise<App | undefined>;
  findByRepository(repository: string): Promise<App | undefined>;
  /** By name. */
  list(): Promise<readonly App[]>;
  /** With its configuration, builds and releases; their files are for the caller to remove. */
  remove(id: string): Promise<boolean>;
  setFormation(id: string, formation: Readonly<Record<string, number>>): Promise<void>;
  config(id: string): Promise<AppConfig>;
  setConfig(id: string, name: string, value: string): Promise<void>;
  /** A value that somebody set stays. */
  setConfigDefault(id: string, name: string, value: string): Promise<void>;
  unsetConfig(id: string, name: string): Promise<boolean>;
}

export function createAppStore({ db }: Pick<Database, "db">): AppStore {
  const findBy = async (column: "id" | "name" | "repository", value: string): Promise<App | undefined> => {
    const row = await db.selectFrom("apps").selectAll().where(column, "=", value).executeTakeFirst();
    return row === undefined ? undefined : appOf(row);
  };
  return {
    async add({ name, repository, branch, createdBy }) {
      const row: AppsTable = {
        id: randomUUID(),
        name,
        repository,
        branch,
        formation: null,
        created_at: Date.now(),
        created_by: createdBy,
      };
      const added = await db
        .insertInto("apps")
        .values(row)
        .onConflict((conflict) => conflict.doNothing())
        .executeTakeFirst();
      return added.numInsertedOrUpdatedRows === 1n ? appOf(row) : "taken";
    },
    find: (name) => findBy("name", name),
    findById: (id) => findBy("id", id),
    findByRepository: (repository) => findBy("repository", repository),
    async list() {
      const rows = await db.selectFrom("apps").selectAll().execute();
      return rows.map(appOf).toSorted((a, b) => (a.name < b.name ? -1 : 1));
    },
    async remove(id) {
      const done = await db.deleteFrom("apps").where("id", "=", id).executeTakeFirst();
      return done.numDeletedRows === 1n;
    },
    async setFormation(id, formation) {
      await db
        .updateTable("apps")
        .set({ formation: JSON.stringify(formation) })
        .where("id", "=", id)
        .execute();
    },
    async config(id) {
      const rows = await db
        .selectFrom("app_config")
        .select(["name", "value"])
        .where("app_id", "=", id)
        .execute();
      const sorted = rows.toSorted((a, b) => (a.name < b.name ? -1 : 1));
      return Object.fromEntries(sorted.map(({ name, value }) => [name, value]));
    },
    async setConfig(id, name, value) {
      await db
        .insertInto("app_config")
        .values({ app_id: id, name, value })
        .onConflict((conflict) => conflict.columns(["app_id", "name"]).doUpdateSet({ value }))
        .execute();
    },
    async setConfigDefault(id, name, value) {
      await db
        .insertInto("app_config")
        .values({ app_id: id, name, value })
        .onConflict((conflict) => conflict.doNothing())
        .execute();
    },
    async unsetConfig(id, name) {
      const done = await db
        .deleteFrom("app_config")
        .where("app_id", "=", id)
        .where("name", "=", name)
        .executeTakeFirst();
      return done.numDeletedRows === 1n;
    },
  };
}

function appOf(row: AppsTable): App {
  const { id, name, repository, branch, created_at: createdAt, created_by: createdBy } = row;
  const formation =
    row.formation === null ? undefined : (JSON.parse(row.formation) as Record<string, number>);
  return { id, name, repository, branch, formation, createdAt, createdBy };
}
