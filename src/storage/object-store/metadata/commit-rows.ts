/**
 * The one transaction by which a repository gets a new root. Rows are locked in one order in all transactions: network,
 * repository, uploads, nodes, packs. The repository's row is held until the transaction is over; whoever tries again after a
 * lost answer waits for it there, and then finds the commit's id or not.
 */
import { addEvents } from "../../../database/add-events.js";
import { affect, type DatabaseWork, first, Undone } from "../../../database/database-work.js";
import type { RepositoriesTable } from "../../../database/schema.js";
import type { MetadataDatabase } from "./metadata-database.js";
import { addChunks, holdContainers } from "./chunk-rows.js";
import { repositoryOf, rowOfPack, slices } from "./metadata-rows.js";
import type { CommitOutcome, MetadataCommit, MetadataStore } from "./metadata-store.js";
import { writeNodes } from "./node-rows.js";

const ROWS_AT_ONCE = 500;

export function commitRows(database: MetadataDatabase): Pick<MetadataStore, "commit"> {
  return { commit: (change) => database.run("transaction", () => commit(database, change)) };
}

function* commit(
  database: MetadataDatabase,
  change: MetadataCommit,
): DatabaseWork<CommitOutcome | Undone<CommitOutcome>> {
  const { db, shared } = database;
  const { repositoryId, commitId, about } = change;
  // Its number is that of every sweep that does not wait for this transaction.
  const network = yield* first(
    shared(
      db
        .selectFrom("networks")
        .select(["id", "sweep"])
        .where("id", "=", (inner) =>
          inner.selectFrom("repositories").select("network_id").where("id", "=", repositoryId),
        ),
    ),
  );
  if (network === undefined) return { kind: "not-found" };
  const row = yield* swapRoot(database, change);
  if (row === undefined) return yield* outcomeOfOthers(database, change);
  const { generation, root, changed_at: time } = row;
  if (!(yield* isKept(database, change))) return new Undone({ kind: "generation-gone" });
  if (!(yield* endUploads(database, change.uploads))) return new Undone({ kind: "upload-gone" });
  yield* writeNodes(database, network, change.nodes);
  const { held = [] } = change;
  if ((yield* holdContainers(database, network.id, held)) !== held.length)
    return new Undone({ kind: "container-gone" });
  for (const some of slices(change.packs, ROWS_AT_ONCE))
    yield* affect(db.insertInto("packs").values(some.map((pack) => rowOfPack(pack, network.id, time))));
  yield* addChunks(database, network.id, change.chunks ?? []);
  for (const some of slices(change.retired ?? [], ROWS_AT_ONCE)) {
    const packs = db.updateTable("packs").where("network_id", "=", network.id).where("id", "in", some);
    yield* affect(packs.where("retired_at", "is", null).set({ retired_at: time }));
  }
  const made = { repository_id: repositoryId, generation, root, kind: change.kind, time };
  yield* affect(db.insertInto("generations").values({ ...made, commit_id: commitId, about: about ?? null }));
  if (change.events !== undefined) yield* addEvents(db, change.events);
  return { kind: "committed", record: repositoryOf(row) };
}

/** Compares and swaps; the row is locked from here on. @returns undefined when it has another generation, or is gone */
function swapRoot(
  { db, now }: MetadataDatabase,
  change: MetadataCommit,
): DatabaseWork<RepositoriesTable | undefined> {
  return first(
    db
      .updateTable("repositories")
      .set((column) => ({
        generation: change.expectedGeneration + 1,
        root: change.root,
        change_count: column("change_count", "+", 1),
        prune_epoch: column("prune_epoch", "+", change.bumpsPruneEpoch === true ? 1 : 0),
        // Though the database's clock was put back, no generation is older than the one before.
        changed_at: column
          .case()
          .when("changed_at", ">", now())
          .then(column.ref("changed_at"))
          .else(now())
          .end(),
      }))
      .where("id", "=", change.repositoryId)
      .where("generation", "=", change.expectedGeneration)
      .where("state", "<>", "deleted")
      .returningAll(),
  );
}

/** Another commit came first, or this one did: its answer was lost, in this call or in one before. */
function* outcomeOfOthers(
  { db }: MetadataDatabase,
  { repositoryId, commitId }: MetadataCommit,
): DatabaseWork<CommitOutcome> {
  const current = yield* first(db.selectFrom("repositories").selectAll().where("id", "=", repositoryId));
  if (current === undefined) return { kind: "not-found" };
  const done = yield* first(
    db
      .selectFrom("generations")
      .select(["generation", "root"])
      .where("repository_id", "=", repositoryId)
      .where("commit_id", "=", commitId),
  );
  if (done !== undefined) return { kind: "committed", record: repositoryOf({ ...current, ...done }) };
  return current.state === "deleted"
    ? { kind: "not-found" }
    : { kind: "raced", record: repositoryOf(current) };
}

function* isKept(
  { db, shared }: MetadataDatabase,
  { repositoryId, restoredGeneration }: MetadataCommit,
): DatabaseWork<boolean> {
  if (restoredGeneration === undefined) return true;
  const kept = db
    .selectFrom("generations")
    .select("generation")
    .where("repository_id", "=", repositoryId)
    .where("generation", "=", restoredGeneration);
  return (yield* first(shared(kept))) !== undefined;
}

/** @returns false when one of them is not open any more */
function* endUploads({ db }: MetadataDatabase, ids: readonly string[]): DatabaseWork<boolean> {
  const wanted = [...new Set(ids)];
  for (const some of slices(wanted, ROWS_AT_ONCE)) {
    const ended = db.deleteFrom("uploads").where("id", "in", some).where("state", "=", "open");
    if ((yield* affect(ended)) !== some.length) return false;
  }
  return true;
}
