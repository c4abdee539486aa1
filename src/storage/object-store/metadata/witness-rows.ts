/** Witnesses as rows: what is told by the bucket, and what is not yet. */
import { randomUUID } from "node:crypto";
import { affect, all, type DatabaseWork, first, Undone } from "../../../database/database-work.js";
import type { WitnessesTable } from "../../../database/schema.js";
import type { MetadataDatabase } from "./metadata-database.js";
import { repositoryOf, slices } from "./metadata-rows.js";
import { insertTaken } from "./pack-rows.js";
import type { WitnessRecord, WitnessStore } from "./witness-store.js";

const KEYS_AT_ONCE = 500;

/** All of a repository that goes for good. */
export function* witnessesToTakenUpload(
  database: MetadataDatabase,
  networkId: string,
  repositoryId: string,
): DatabaseWork<void> {
  const rows = yield* all(
    database.db.deleteFrom("witnesses").where("repository_id", "=", repositoryId).returning("key"),
  );
  for (const some of slices(rows, KEYS_AT_ONCE))
    yield* insertTaken(
      database,
      { id: randomUUID(), networkId, repositoryId, owner: "purge" },
      some.map(({ key }) => key),
    );
}

export function witnessRows(
  database: MetadataDatabase,
): Pick<WitnessStore, "listUnwitnessed" | "listWitnesses" | "addWitness" | "dropOldWitnesses"> {
  const { db, run, now } = database;
  return {
    async listUnwitnessed({ after = "", limit }) {
      const rows = await run("read", () =>
        all(
          db
            .selectFrom("repositories")
            .selectAll()
            .whereRef("change_count", ">", "witnessed_count")
            .where("state", "<>", "prepared")
            .where("id", ">", after)
            .orderBy("id")
            .limit(limit),
        ),
      );
      return rows.map((row) => ({
        record: repositoryOf(row),
        number: row.change_count,
        needsWhole: row.witnessed_count < 0,
      }));
    },
    async listWitnesses(repositoryId, { limit }) {
      const rows = await run("read", () =>
        all(
          db
            .selectFrom("witnesses")
            .selectAll()
            .where("repository_id", "=", repositoryId)
            .orderBy("number", "desc")
            .orderBy("key")
            .limit(limit),
        ),
      );
      return rows.map(witnessOf);
    },
    addWitness: ({ repositoryId, uploadId, key, number, generation, isWhole, sizeBytes, buildsOn }) =>
      run<boolean>("transaction", function* () {
        const repository = yield* first(
          db
            .updateTable("repositories")
            .set((column) => ({
              witnessed_count: column
                .case()
                .when("witnessed_count", ">", number)
                .then(column.ref("witnessed_count"))
                .else(number)
                .end(),
            }))
            .where("id", "=", repositoryId)
            .returning("network_id"),
        );
        if (repository === undefined) return new Undone(false);
        const upload = db.deleteFrom("uploads").where("id", "=", uploadId).where("state", "=", "open");
        if ((yield* affect(upload)) === 0) {
          // An attempt whose answer was lost has done it.
          const mine = yield* first(db.selectFrom("witnesses").select("key").where("key", "=", key));
          return new Undone(mine !== undefined);
        }
        // What stands before a whole one goes some time, so that nothing behind it may need that.
        const others = db.selectFrom("witnesses").select("key").where("repository_id", "=", repositoryId);
        const quicker =
          buildsOn === undefined
            ? others.where("number", ">=", number)
            : others.where("is_whole", "=", 1).where("number", ">", buildsOn);
        if ((yield* first(quicker.limit(1))) !== undefined) return new Undone(false);
        yield* affect(
          db.insertInto("witnesses").values({
            key,
            network_id: repository.network_id,
            repository_id: repositoryId,
            number,
            generation,
            is_whole: isWhole ? 1 : 0,
            size_bytes: sizeBytes,
            created_at: now(),
          }),
        );
        return true;
      }),
    async dropOldWitnesses(networkId, { wholeOlderThanMs, keptMs }) {
      const newestWhole = () =>
        db
          .selectFrom("witnesses")
          .select(({ fn }) => ["repository_id", fn.max("number").as("number")])
          .where("network_id", "=", networkId)
          .where("is_whole", "=", 1)
          .where("created_at", "<=", now(-wholeOlderThanMs))
          .groupBy("repository_id");
      const id = randomUUID();
      const isThere = await run<boolean>("transaction", function* (maybeDone) {
        const old = yield* all(
          db
            .selectFrom("witnesses")
            .innerJoin(newestWhole().as("whole"), (on) =>
              on
                .onRef("whole.repository_id", "=", "witnesses.repository_id")
                .onRef("whole.number", ">", "witnesses.number"),
            )
            .select("witnesses.key")
            .limit(KEYS_AT_ONCE),
        );
        if (old.length === 0) {
          const mine = db.selectFrom("uploads").select("id").where("id", "=", id);
          return maybeDone && (yield* first(mine)) !== undefined;
        }
        const keys = old.map(({ key }) => key);
        const gone = yield* all(db.deleteFrom("witnesses").where("key", "in", keys).returning("key"));
        if (gone.length === 0) return new Undone(false);
        const upload = { id, networkId, repositoryId: null, owner: "drop" };
        yield* insertTaken(
          database,
          upload,
          gone.map(({ key }) => key),
        );
        return true;
      });
      await run("statement", () => affect(renewed()));
      return isThere ? [id] : [];

      function renewed() {
        const wholes = db
          .selectFrom("witnesses")
          .select(({ fn }) => ["repository_id", fn.max("created_at").as("told_at")])
          .where("network_id", "=", networkId)
          .where("is_whole", "=", 1)
          .groupBy("repository_id");
        const oldest = db
          .selectFrom("generations")
          .innerJoin("repositories", "repositories.id", "generations.repository_id")
          .select(({ fn }) => [
            "generations.repository_id",
            fn.min("generations.generation").as("generation"),
          ])
          .where("repositories.network_id", "=", networkId)
          .groupBy("generations.repository_id");
        // One that took another's place later than what was forgotten by then: that other one was told of.
        const outdated = db
          .selectFrom("generations")
          .innerJoin(oldest.as("oldest"), (on) =>
            on
              .onRef("oldest.repository_id", "=", "generations.repository_id")
              .onRef("oldest.generation", "=", "generations.generation"),
          )
          .innerJoin(wholes.as("whole"), (on) =>
            on.onRef("whole.repository_id", "=", "generations.repository_id"),
          )
          .select("generations.repository_id")
          .where("generations.generation", ">", 0)
          .where("generations.kind", "<>", "fork")
          .where("whole.told_at", "<=", now(-wholeOlderThanMs))
          // Passes may come late.
          .where((column) =>
            column(
              "generations.time",
              ">",
              column("whole.told_at", "-", Math.round(keptMs + wholeOlderThanMs)),
            ),
          );
        return db
          .updateTable("repositories")
          .set((column) => ({ change_count: column("change_count", "+", 1), witnessed_count: -1 }))
          .where("network_id", "=", networkId)
          .where("witnessed_count", ">=", 0)
          .where("id", "in", outdated);
      }
    },
  };
}

function witnessOf(row: WitnessesTable): WitnessRecord {
  return {
    key: row.key,
    number: row.number,
    generation: row.generation,
    isWhole: row.is_whole === 1,
    sizeBytes: row.size_bytes,
  };
}
