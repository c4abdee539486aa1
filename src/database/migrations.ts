/**
 * The one ordered list of migrations, and what runs it: in one transaction, under a lock, so that processes that start
 * together do it once. A migration that was released is never changed; a new one is added at the end.
 */
import type { Kysely } from "kysely";
import { GitwharfError } from "../base/errors.js";
import { sql } from "./kysely.js";
import type { Schema } from "./schema.js";

export interface Migration {
  readonly name: string;
  readonly up: (db: Kysely<Schema>, engine: "sqlite" | "postgres") => Promise<void>;
}

export const MIGRATIONS: readonly Migration[] = [
  {
    name: "001-users-keys-tokens",
    async up(db) {
      await db.schema
        .createTable("users")
        .addColumn("id", "text", (column) => column.primaryKey())
        .addColumn("name", "text", (column) => column.notNull())
        .addColumn("password", "text")
        .addColumn("created_at", "bigint", (column) => column.notNull())
        .execute();
      await sql`create unique index users_name on users (lower(name))`.execute(db);
      await db.schema
        .createTable("ssh_keys")
        .addColumn("fingerprint", "text", (column) => column.primaryKey())
        .addColumn("user_id", "text", (column) => column.notNull().references("users.id").onDelete("cascade"))
        .addColumn("type", "text", (column) => column.notNull())
        .addColumn("blob", "text", (column) => column.notNull())
        .addColumn("comment", "text", (column) => column.notNull())
        .addColumn("access_grant", "text")
        .addColumn("created_at", "bigint", (column) => column.notNull())
        .addColumn("last_used_at", "bigint")
        .execute();
      await db.schema.createIndex("ssh_keys_user").on("ssh_keys").column("user_id").execute();
      await db.schema
        .createTable("tokens")
        .addColumn("id", "text", (column) => column.primaryKey())
        .addColumn("user_id", "text", (column) => column.notNull().references("users.id").onDelete("cascade"))
        .addColumn("label", "text", (column) => column.notNull())
        .addColumn("hash", "text", (column) => column.notNull().unique())
        .addColumn("access_grant", "text")
        .addColumn("created_at", "bigint", (column) => column.notNull())
        .addColumn("expires_at", "bigint")
        .addColumn("last_used_at", "bigint")
        .execute();
      await db.schema.createIndex("tokens_user").on("tokens").column("user_id").execute();
      await db.schema
        .createTable("facts")
        .addColumn("name", "text", (column) => column.primaryKey())
        .addColumn("value", "text", (column) => column.notNull())
        .execute();
    },
  },
  {
    name: "002-public-repositories",
    async up(db) {
      await db.schema
        .createTable("public_repositories")
        .addColumn("name", "text", (column) => column.primaryKey())
        .addColumn("created_at", "bigint", (column) => column.notNull())
        .execute();
    },
  },
  {
    name: "003-deliveries",
    async up(db) {
      await db.schema
        .createTable("deliveries")
        .addColumn("id", "text", (column) => column.primaryKey())
        .addColumn("repository", "text", (column) => column.notNull())
        .addColumn("position", "bigint", (column) => column.notNull())
        .addColumn("push_id", "text", (column) => column.notNull())
        .addColumn("user_name", "text", (column) => column.notNull())
        .addColumn("repository_id", "text", (column) => column.notNull())
        .addColumn("ref_name", "text", (column) => column.notNull())
        .addColumn("old_oid", "text", (column) => column.notNull())
        .addColumn("new_oid", "text", (column) => column.notNull())
        .addColumn("has_moved", "integer", (column) => column.notNull())
        .addColumn("attempts", "integer", (column) => column.notNull())
        .addColumn("not_before", "bigint", (column) => column.notNull())
        .addColumn("created_at", "bigint", (column) => column.notNull())
        .execute();
      await db.schema
        .createIndex("deliveries_order")
        .on("deliveries")
        .columns(["repository", "position"])
        .unique()
        .execute();
      await db.schema
        .createTable("delivery_leases")
        .addColumn("repository", "text", (column) => column.primaryKey())
        .addColumn("owner", "text", (column) => column.notNull())
        .addColumn("expires_at", "bigint", (column) => column.notNull())
        .execute();
    },
  },
  {
    name: "004-events",
    async up(db) {
      await db.schema
        .createTable("events")
        .addColumn("id", "text", (column) => column.primaryKey())
        .addColumn("repository", "text", (column) => column.notNull())
        .addColumn("position", "bigint", (column) => column.notNull())
        .addColumn("cursor", "bigint", (column) => column.unique())
        .addColumn("push_id", "text", (column) => column.notNull())
        .addColumn("ref_name", "text", (column) => column.notNull())
        .addColumn("old_oid", "text", (column) => column.notNull())
        .addColumn("new_oid", "text", (column) => column.notNull())
        .addColumn("forced", "integer")
        .addColumn("user_name", "text", (column) => column.notNull())
        .addColumn("about", "text", (column) => column.notNull())
        .addColumn("has_moved", "integer", (column) => column.notNull())
        .addColumn("is_first", "integer", (column) => column.notNull())
        .addColumn("created_at", "bigint", (column) => column.notNull())
        .execute();
      const index = (name: string, columns: ("repository" | "position" | "cursor" | "push_id")[]) =>
        db.schema.createIndex(name).on("events").columns(columns);
      await index("events_order", ["repository", "position"]).unique().execute();
      await index("events_of_repository", ["repository", "cursor"]).execute();
      await index("events_of_push", ["push_id"]).execute();
      await sql`create index events_untold on events (repository, position) where cursor is null`.execute(db);
      await db.schema
        .createTable("delivery_targets")
        .addColumn("name", "text", (column) => column.primaryKey())
        .addColumn("since", "bigint", (column) => column.notNull())
        .execute();
      await db.schema
        .createTable("delivery_progress")
        .addColumn("target", "text", (column) => column.notNull())
        .addColumn("repository", "text", (column) => column.notNull())
        .addColumn("cursor", "bigint", (column) => column.notNull())
        .addColumn("attempts", "integer", (column) => column.notNull())
        .addColumn("not_before", "bigint", (column) => column.notNull())
        .addColumn("owner", "text", (column) => column.notNull())
        .addColumn("expires_at", "bigint", (column) => column.notNull())
        .addPrimaryKeyConstraint("delivery_progress_key", ["target", "repository"])
        .execute();
      await db.schema
        .createTable("delivery_records")
        .addColumn("target", "text", (column) => column.notNull())
        .addColumn("event_id", "text", (column) =>
          column.notNull().references("events.id").onDelete("cascade"),
        )
        .addColumn("repository", "text", (column) => column.notNull())
        .addColumn("cursor", "bigint", (column) => column.notNull())
        .addColumn("state", "text", (column) => column.notNull())
        .addColumn("attempts", "integer", (column) => column.notNull())
        .addColumn("status", "integer")
        .addColumn("why", "text")
        .addColumn("at", "bigint", (column) => column.notNull())
        .addPrimaryKeyConstraint("delivery_records_key", ["target", "event_id"])
        .execute();
      await db.schema
        .createIndex("delivery_records_order")
        .on("delivery_records")
        .columns(["target", "state", "repository", "cursor"])
        .execute();
      await db.schema
        .createIndex("delivery_records_event")
        .on("delivery_records")
        .column("event_id")
        .execute();
      // What a Gitorious application was still to be told of: it goes on from there.
      const { rows } =
        await sql<OlderDelivery>`select * from deliveries order by repository, position`.execute(db);
      for (const row of rows) {
        const { id, repository, position, push_id, ref_name, old_oid, new_oid, user_name, has_moved } = row;
        const about = JSON.stringify({ facts: { repository_id: row.repository_id } });
        await sql`insert into events (id, repository, position, push_id, ref_name, old_oid, new_oid, user_name, about, has_moved, is_first, created_at)
          values (${id}, ${repository}, ${position}, ${push_id}, ${ref_name}, ${old_oid}, ${new_oid}, ${user_name}, ${about}, ${has_moved}, 0, ${row.created_at})`.execute(
          db,
        );
      }
      await sql`insert into delivery_targets (name, since) select 'gitorious', 0
        where exists (select 1 from deliveries)`.execute(db);
      await db.schema.dropTable("deliveries").execute();
      await db.schema.dropTable("delivery_leases").execute();
    },
  },
  {
    name: "005-apps-builds-releases",
    async up(db) {
      await db.schema
        .createTable("apps")
        .addColumn("id", "text", (column) => column.primaryKey())
        .addColumn("name", "text", (column) => column.notNull().unique())
        .addColumn("repository", "text", (column) => column.notNull().unique())
        .addColumn("branch", "text", (column) => column.notNull())
        .addColumn("formation", "text")
        .addColumn("created_at", "bigint", (column) => column.notNull())
        .addColumn("created_by", "text", (column) => column.notNull())
        .execute();
      await db.schema
        .createTable("app_config")
        .addColumn("app_id", "text", (column) => column.notNull().references("apps.id").onDelete("cascade"))
        .addColumn("name", "text", (column) => column.notNull())
        .addColumn("value", "text", (column) => column.notNull())
        .addPrimaryKeyConstraint("app_config_key", ["app_id", "name"])
        .execute();
      await db.schema
        .createTable("builds")
        .addColumn("id", "text", (column) => column.primaryKey())
        .addColumn("app_id", "text", (column) => column.notNull().references("apps.id").onDelete("cascade"))
        .addColumn("commit_oid", "text", (column) => column.notNull())
        .addColumn("ref_name", "text", (column) => column.notNull())
        .addColumn("attempt", "integer", (column) => column.notNull())
        .addColumn("position", "bigint", (column) => column.notNull().unique())
        .addColumn("place", "text", (column) => column.notNull())
        .addColumn("status", "text", (column) => column.notNull())
        .addColumn("reason", "text", (column) => column.notNull())
        .addColumn("cancel_requested", "integer", (column) => column.notNull())
        .addColumn("claims", "integer", (column) => column.notNull())
        .addColumn("lease_owner", "text")
        .addColumn("lease_expires_at", "bigint", (column) => column.notNull())
        .addColumn("config_digest", "text", (column) => column.notNull())
        .addColumn("product", "text")
        .addColumn("created_at", "bigint", (column) => column.notNull())
        .addColumn("created_by", "text", (column) => column.notNull())
        .addColumn("started_at", "bigint")
        .addColumn("ended_at", "bigint")
        .addUniqueConstraint("builds_attempt", ["app_id", "commit_oid", "attempt"])
        .execute();
      // What the database itself does not let happen, whoever builds.
      await sql`create unique index builds_active on builds (app_id, commit_oid)
        where status in ('queued', 'running')`.execute(db);
      await sql`create unique index builds_running on builds (app_id) where status = 'running'`.execute(db);
      await db.schema
        .createTable("releases")
        .addColumn("id", "text", (column) => column.primaryKey())
        .addColumn("app_id", "text", (column) => column.notNull().references("apps.id").onDelete("cascade"))
        .addColumn("number", "integer", (column) => column.notNull())
        .addColumn("commit_oid", "text", (column) => column.notNull())
        .addColumn("build_id", "text")
        .addColumn("slug_path", "text", (column) => column.notNull())
        .addColumn("process_types", "text", (column) => column.notNull())
        .addColumn("config", "text", (column) => column.notNull())
        .addColumn("status", "text", (column) => column.notNull())
        .addColumn("description", "text", (column) => column.notNull())
        .addColumn("created_at", "bigint", (column) => column.notNull())
        .addColumn("created_by", "text", (column) => column.notNull())
        .addUniqueConstraint("releases_number", ["app_id", "number"])
        .execute();
      await sql`create unique index releases_build on releases (build_id) where build_id is not null`.execute(
        db,
      );
    },
  },
  {
    name: "006-object-store",
    async up(db, engine) {
      // Bytes, not what a language makes of them, order and tell names apart.
      const name = engine === "postgres" ? sql`text collate "C"` : "text";
      const bytes = engine === "postgres" ? "bytea" : "blob";
      await db.schema
        .createTable("networks")
        .addColumn("id", "text", (column) => column.primaryKey())
        .addColumn("sweep", "bigint", (column) => column.notNull())
        .addColumn("created_at", "bigint", (column) => column.notNull())
        .execute();
      await db.schema
        .createTable("repositories")
        .addColumn("id", "text", (column) => column.primaryKey())
        .addColumn("network_id", "text", (column) => column.notNull().references("networks.id"))
        .addColumn("name", name, (column) => column.unique())
        .addColumn("former_name", "text")
        .addColumn("object_format", "text", (column) => column.notNull())
        .addColumn("state", "text", (column) => column.notNull())
        .addColumn("generation", "bigint", (column) => column.notNull())
        .addColumn("root", "text", (column) => column.notNull())
        .addColumn("prune_epoch", "bigint", (column) => column.notNull())
        .addColumn("changed_at", "bigint", (column) => column.notNull())
        .addColumn("created_at", "bigint", (column) => column.notNull())
        .addColumn("hidden_at", "bigint")
        .addColumn("forked_from", "text")
        .execute();
      await db.schema
        .createIndex("repositories_network")
        .on("repositories")
        .columns(["network_id", "id"])
        .execute();
      await sql`create index repositories_hidden on repositories (state, hidden_at)
        where hidden_at is not null`.execute(db);
      await db.schema
        .createTable("generations")
        .addColumn("repository_id", "text", (column) =>
          column.notNull().references("repositories.id").onDelete("cascade"),
        )
        .addColumn("generation", "bigint", (column) => column.notNull())
        .addColumn("root", "text", (column) => column.notNull())
        .addColumn("kind", "text", (column) => column.notNull())
        .addColumn("time", "bigint", (column) => column.notNull())
        .addColumn("commit_id", "text", (column) => column.notNull().unique())
        .addColumn("about", "text")
        .addPrimaryKeyConstraint("generations_key", ["repository_id", "generation"])
        .execute();
      await db.schema
        .createIndex("generations_time")
        .on("generations")
        .columns(["repository_id", "time", "generation"])
        .execute();
      await db.schema
        .createTable("nodes")
        .addColumn("network_id", "text", (column) => column.notNull())
        .addColumn("hash", sql.raw(bytes), (column) => column.notNull())
        .addColumn("sweep", "bigint", (column) => column.notNull())
        .addColumn("body", sql.raw(bytes), (column) => column.notNull())
        .addPrimaryKeyConstraint("nodes_key", ["network_id", "hash"])
        .execute();
      await db.schema
        .createTable("packs")
        .addColumn("id", "text", (column) => column.primaryKey())
        .addColumn("network_id", "text", (column) => column.notNull())
        .addColumn("key", "text", (column) => column.notNull())
        .addColumn("side_key", "text")
        .addColumn("kind", "text", (column) => column.notNull())
        .addColumn("size_bytes", "bigint", (column) => column.notNull())
        .addColumn("created_at", "bigint", (column) => column.notNull())
        .addColumn("retired_at", "bigint")
        .execute();
      await db.schema.createIndex("packs_network").on("packs").columns(["network_id", "id"]).execute();
      await db.schema
        .createTable("uploads")
        .addColumn("id", "text", (column) => column.primaryKey())
        .addColumn("network_id", "text", (column) => column.notNull())
        .addColumn("repository_id", "text")
        .addColumn("keys", "text", (column) => column.notNull())
        .addColumn("owner", "text", (column) => column.notNull())
        .addColumn("state", "text", (column) => column.notNull())
        .addColumn("touched_at", "bigint", (column) => column.notNull())
        .execute();
      await db.schema.createIndex("uploads_age").on("uploads").columns(["touched_at", "id"]).execute();
    },
  },
  {
    name: "007-leases",
    async up(db) {
      await db.schema
        .createTable("leases")
        .addColumn("name", "text", (column) => column.primaryKey())
        .addColumn("owner", "text", (column) => column.notNull())
        .addColumn("expires_at", "bigint", (column) => column.notNull())
        .addColumn("note", "text", (column) => column.notNull())
        .execute();
      await db.schema.alterTable("packs").addColumn("unnamed_at", "bigint").execute();
    },
  },
  {
    name: "008-chunks",
    async up(db) {
      await db.schema
        .alterTable("packs")
        .addColumn("held", "bigint", (column) => column.notNull().defaultTo(0))
        .execute();
      await db.schema
        .createTable("chunks")
        .addColumn("network_id", "text", (column) => column.notNull())
        .addColumn("id", "text", (column) => column.notNull())
        .addColumn("container_id", "text", (column) => column.notNull())
        .addColumn("position", "bigint", (column) => column.notNull())
        .addColumn("stored_bytes", "bigint", (column) => column.notNull())
        .addColumn("size_bytes", "bigint", (column) => column.notNull())
        .addColumn("adler32", "bigint", (column) => column.notNull())
        .addPrimaryKeyConstraint("chunks_key", ["network_id", "id"])
        .execute();
      await db.schema.createIndex("chunks_container").on("chunks").columns(["container_id"]).execute();
    },
  },
  {
    name: "010-bundles",
    async up(db) {
      await db.schema.alterTable("uploads").addColumn("bundle", "text").execute();
      await db.schema.createIndex("uploads_repository").on("uploads").columns(["repository_id"]).execute();
    },
  },
  {
    name: "011-witnesses",
    async up(db) {
      for (const [name, first] of [
        ["change_count", 0],
        ["witnessed_count", -1],
      ] as const)
        await db.schema
          .alterTable("repositories")
          .addColumn(name, "bigint", (column) => column.notNull().defaultTo(first))
          .execute();
      await sql`create index repositories_unwitnessed on repositories (id)
        where change_count > witnessed_count`.execute(db);
      await db.schema
        .createTable("witnesses")
        .addColumn("key", "text", (column) => column.primaryKey())
        .addColumn("network_id", "text", (column) => column.notNull())
        .addColumn("repository_id", "text", (column) => column.notNull())
        .addColumn("number", "bigint", (column) => column.notNull())
        .addColumn("generation", "bigint", (column) => column.notNull())
        .addColumn("is_whole", "integer", (column) => column.notNull())
        .addColumn("size_bytes", "bigint", (column) => column.notNull())
        .addColumn("created_at", "bigint", (column) => column.notNull())
        .execute();
      await db.schema
        .createIndex("witnesses_repository")
        .on("witnesses")
        .columns(["repository_id", "number"])
        .execute();
      await db.schema.createIndex("witnesses_network").on("witnesses").column("network_id").execute();
    },
  },
  {
    name: "012-contributions",
    async up(db) {
      await db.schema
        .createTable("contributions")
        .addColumn("id", "text", (column) => column.primaryKey())
        .addColumn("hash", "text", (column) => column.notNull().unique())
        .addColumn("forge", "text", (column) => column.notNull())
        .addColumn("host", "text", (column) => column.notNull())
        .addColumn("owner", "text", (column) => column.notNull())
        .addColumn("repo", "text", (column) => column.notNull())
        .addColumn("upstream", "text", (column) => column.notNull())
        .addColumn("branch", "text", (column) => column.notNull())
        .addColumn("base", "text", (column) => column.notNull())
        .addColumn("fork_owner", "text", (column) => column.notNull())
        .addColumn("fork_repo", "text", (column) => column.notNull())
        .addColumn("head_oid", "text", (column) => column.notNull())
        .addColumn("state", "text", (column) => column.notNull())
        .addColumn("pull_url", "text", (column) => column.notNull())
        .addColumn("title", "text", (column) => column.notNull())
        .addColumn("body", "text", (column) => column.notNull())
        .addColumn("reason", "text", (column) => column.notNull())
        .addColumn("lease_owner", "text", (column) => column.notNull())
        .addColumn("is_own_account", "integer", (column) => column.notNull())
        .addColumn("pull_number", "bigint")
        .addColumn("attempts", "integer", (column) => column.notNull())
        .addColumn("lease_expires_at", "bigint", (column) => column.notNull())
        .addColumn("created_at", "bigint", (column) => column.notNull())
        .addColumn("updated_at", "bigint", (column) => column.notNull())
        .addUniqueConstraint("contributions_branch", ["upstream", "branch"])
        .execute();
      await db.schema
        .createIndex("contributions_state")
        .on("contributions")
        .columns(["state", "created_at"])
        .execute();
    },
  },
];

/** A row of `deliveries`, which were there before events. */
interface OlderDelivery {
  readonly id: string;
  readonly repository: string;
  readonly position: number;
  readonly push_id: string;
  readonly user_name: string;
  readonly repository_id: string;
  readonly ref_name: string;
  readonly old_oid: string;
  readonly new_oid: string;
  readonly has_moved: number;
  readonly created_at: number;
}

/** Any number: the lock that all processes which migrate one PostgreSQL database ask for. */
const ADVISORY_LOCK = 7_203_114_599;

/**
 * @returns the names of those that ran
 * @throws server/bad-configuration when the database was made by a newer version
 */
export async function migrate(
  db: Kysely<Schema>,
  engine: "sqlite" | "postgres",
  migrations: readonly Migration[] = MIGRATIONS,
): Promise<readonly string[]> {
  return db.connection().execute(async (connection) => {
    await (engine === "sqlite" ? sql`begin immediate` : sql`begin`).execute(connection);
    // From here on the connection must end the transaction, whatever happens.
    try {
      if (engine === "postgres")
        await sql`select pg_advisory_xact_lock(${sql.lit(ADVISORY_LOCK)})`.execute(connection);
      const ran = await runMissing(connection, engine, migrations);
      await sql`commit`.execute(connection);
      return ran;
    } catch (error) {
      await sql`rollback`.execute(connection);
      throw error;
    }
  });
}

async function runMissing(
  connection: Kysely<Schema>,
  engine: "sqlite" | "postgres",
  migrations: readonly Migration[],
): Promise<readonly string[]> {
  await sql`create table if not exists migrations (name text primary key, applied_at bigint not null)`.execute(
    connection,
  );
  const { rows } = await sql<{ name: string }>`select name from migrations`.execute(connection);
  const applied = new Set(rows.map((row) => row.name));
  const unknown = [...applied].find((name) => !migrations.some((migration) => migration.name === name));
  if (unknown !== undefined) {
    throw new GitwharfError(
      "server/bad-configuration",
      `the database was made by a newer gitwharf (it has migration '${unknown}'); run that version`,
    );
  }
  const ran: string[] = [];
  for (const { name, up } of migrations) {
    if (applied.has(name)) continue;
    await up(connection, engine);
    await sql`insert into migrations (name, applied_at) values (${name}, ${Date.now()})`.execute(connection);
    ran.push(name);
  }
  return ran;
}
