/** Repositories as rows: how they come to be, get their names and go. The database's unique names decide who wins. */
import { randomUUID } from "node:crypto";
import { affect, all, type DatabaseWork, first, Undone } from "../../../database/database-work.js";
import type { RepositoriesTable } from "../../../database/schema.js";
import { exists, type MetadataDatabase, notFound } from "./metadata-database.js";
import { repositoryOf } from "./metadata-rows.js";
import type { MetadataStore, RepositoryRecord } from "./metadata-store.js";
import { writeNodes } from "./node-rows.js";
import { packsToTakenUploads } from "./pack-rows.js";
import { witnessesToTakenUpload } from "./witness-rows.js";

type RepositoryMethods = Pick<
  MetadataStore,
  | "find"
  | "get"
  | "list"
  | "listHidden"
  | "create"
  | "fork"
  | "place"
  | "rename"
  | "delete"
  | "undelete"
  | "purge"
>;

/** @param forgetNodes of a network that has no repository any more */
export function repositoryRows(
  database: MetadataDatabase,
  forgetNodes: (networkId: string) => Promise<void>,
): RepositoryMethods {
  const { db, run, shared, locked, now } = database;
  const rowOf = (id: string) => first(db.selectFrom("repositories").selectAll().where("id", "=", id));

  /** Adds the row; when there is one of this id already, an attempt whose answer was lost has. @returns undefined: the name is taken */
  function* insert(
    row: NewRow,
  ): DatabaseWork<{ readonly made?: RepositoriesTable; readonly found?: RepositoriesTable | undefined }> {
    const times = { changed_at: now(), created_at: now(), hidden_at: row.name === null ? now() : null };
    const made = yield* first(
      db
        .insertInto("repositories")
        .values({ ...row, ...times })
        .onConflict((conflict) => conflict.doNothing())
        .returningAll(),
    );
    return made === undefined ? { found: yield* rowOf(row.id) } : { made };
  }

  function* insertFirstGeneration(
    row: RepositoriesTable,
    kind: string,
    commitId: string,
    about: string | undefined,
  ): DatabaseWork<void> {
    const { id, generation, root, created_at: time } = row;
    const values = { repository_id: id, generation, root, kind, time, commit_id: commitId };
    yield* affect(db.insertInto("generations").values({ ...values, about: about ?? null }));
  }

  /** One statement that changes one row, in a state. */
  const change = async (
    id: string,
    from: RepositoriesTable["state"],
    set: Omit<Partial<RepositoriesTable>, "hidden_at"> & {
      readonly hidden_at?: null | ReturnType<typeof now>;
    },
    name?: string,
  ): Promise<void> => {
    const changed = await run(
      "statement",
      function* (maybeDone) {
        const update = db.updateTable("repositories").where("id", "=", id).where("state", "=", from);
        const leaves = set.state === "deleted";
        const count = yield* affect(
          update.set((column) => ({
            ...set,
            ...(leaves ? { former_name: column.ref("name") } : {}),
            change_count: column("change_count", "+", 1),
          })),
        );
        if (count === 1) return true;
        // Only an attempt of ours whose answer was lost can have made it that, or one that asked for the same.
        return maybeDone && (yield* rowOf(id))?.state === set.state;
      },
      name,
    );
    if (!changed) throw notFound(id, from);
  };

  return {
    async find(name) {
      const query = db.selectFrom("repositories").selectAll().where("name", "=", name);
      const row = await run("read", () => first(query));
      return row === undefined ? undefined : repositoryOf(row);
    },
    async get(id) {
      const row = await run("read", () => rowOf(id));
      return row === undefined ? undefined : repositoryOf(row);
    },
    async list({ after, limit }) {
      const named = db.selectFrom("repositories").selectAll().where("name", "is not", null);
      const some = after === undefined ? named : named.where("name", ">", after);
      return (await run("read", () => all(some.orderBy("name").limit(limit)))).map(repositoryOf);
    },
    async listHidden({ state, beforeMs, limit }) {
      const hidden = db
        .selectFrom("repositories")
        .selectAll()
        .where("state", "=", state)
        .where("hidden_at", "<", beforeMs)
        .orderBy("hidden_at")
        .limit(limit);
      return (await run("read", () => all(hidden))).map(repositoryOf);
    },

    async create({ name, objectFormat, root, nodes, kind = "create", about }) {
      const network = { id: randomUUID(), sweep: 0 };
      const row = newRow({ networkId: network.id, name, objectFormat, root, generation: 0 });
      const commitId = randomUUID();
      const made = await run<RepositoriesTable | undefined>("transaction", function* () {
        yield* affect(
          db
            .insertInto("networks")
            .values({ ...network, created_at: now() })
            .onConflict((conflict) => conflict.doNothing()),
        );
        const { made: inserted, found } = yield* insert(row);
        if (inserted === undefined) return new Undone(found);
        yield* writeNodes(database, network, nodes);
        yield* insertFirstGeneration(inserted, kind, commitId, about);
        return inserted;
      });
      if (made === undefined) throw exists(name ?? "");
      return repositoryOf(made);
    },
    async fork(parentId, name) {
      const [id, commitId] = [randomUUID(), randomUUID()];
      const made = await run<RepositoriesTable | "exists" | "not-found">(
        "transaction",
        function* (maybeDone) {
          // Whoever changes the parent's root waits, so that what this root names is named all the time.
          const parent = yield* first(
            shared(
              db
                .selectFrom("repositories")
                .selectAll()
                .where("id", "=", parentId)
                .where("state", "=", "live"),
            ),
          );
          if (parent === undefined) return (maybeDone ? yield* rowOf(id) : undefined) ?? "not-found";
          const { network_id: networkId, object_format: objectFormat, generation, root } = parent;
          const row: NewRow = {
            ...newRow({ networkId, name, objectFormat, root, generation }),
            id,
            prune_epoch: parent.prune_epoch,
            forked_from: parentId,
          };
          const { made: inserted, found } = yield* insert(row);
          if (inserted === undefined) return new Undone(found ?? "exists");
          yield* insertFirstGeneration(inserted, "fork", commitId, undefined);
          return inserted;
        },
      );
      if (made === "not-found") throw notFound(parentId, "live");
      if (made === "exists") throw exists(name ?? "");
      return repositoryOf(made);
    },

    place: (id, name) => change(id, "prepared", { state: "live", name, hidden_at: null }, name),
    rename: (id, name) => change(id, "live", { state: "live", name }, name),
    delete: (id) => change(id, "live", { state: "deleted", name: null, hidden_at: now() }),
    undelete: (id, name) =>
      change(id, "deleted", { state: "live", name, former_name: null, hidden_at: null }, name),

    async purge(id) {
      const purged = await run<PurgeOutcome>("transaction", function* (maybeDone) {
        const row = yield* rowOf(id);
        if (row === undefined || row.state === "live") return maybeDone ? "gone" : "not-found";
        const { network_id: networkId } = row;
        // Of two that remove the last ones of a network, one comes after the other and sees that it is the last.
        yield* all(locked(db.selectFrom("networks").select("id").where("id", "=", networkId)));
        const gone = yield* affect(
          db.deleteFrom("repositories").where("id", "=", id).where("state", "<>", "live"),
        );
        if (gone === 0) return "not-found";
        yield* witnessesToTakenUpload(database, networkId, id);
        const others = db.selectFrom("repositories").select("id").where("network_id", "=", networkId);
        if ((yield* first(others.limit(1))) !== undefined) return "gone";
        yield* packsToTakenUploads(database, networkId, id);
        return { emptied: networkId };
      });
      if (purged === "not-found") throw notFound(id, "prepared or deleted");
      if (typeof purged === "object") await forgetNodes(purged.emptied);
    },
  };
}

type PurgeOutcome = "not-found" | "gone" | { readonly emptied: string };

/** Times come from the database. */
type NewRow = Omit<RepositoriesTable, "changed_at" | "created_at" | "hidden_at">;

function newRow(
  repository: Pick<RepositoryRecord, "networkId" | "objectFormat" | "root" | "generation"> & {
    readonly name: string | undefined;
  },
): NewRow {
  const { networkId, name, objectFormat, root, generation } = repository;
  return {
    id: randomUUID(),
    network_id: networkId,
    name: name ?? null,
    former_name: null,
    object_format: objectFormat,
    state: name === undefined ? "prepared" : "live",
    generation,
    root,
    prune_epoch: 0,
    forked_from: null,
    change_count: 0,
    witnessed_count: -1,
  };
}
