/** What a repository was: rows that commits add. */
import { othersTurn } from "../../../base/others-turn.js";
import { affect, all, first } from "../../../database/database-work.js";
import type { MetadataDatabase } from "./metadata-database.js";
import { generationOf } from "./metadata-rows.js";
import type { MetadataStore } from "./metadata-store.js";

const FORGOTTEN_AT_ONCE = 5000;

export function generationRows({
  db,
  run,
}: MetadataDatabase): Pick<
  MetadataStore,
  | "listGenerations"
  | "getGeneration"
  | "generationAt"
  | "oldestGeneration"
  | "forgetGenerations"
  | "forgetOldGenerations"
> {
  const of = (repositoryId: string) =>
    db.selectFrom("generations").selectAll().where("repository_id", "=", repositoryId);
  /** Those before the one that was current at the time. */
  const forgetSome = (networkId: string, timeMs: number) =>
    db.deleteFrom("generations").where("commit_id", "in", (inner) =>
      inner
        .selectFrom("generations as old")
        .innerJoin(
          (join) =>
            join
              .selectFrom("generations")
              .innerJoin("repositories", "repositories.id", "generations.repository_id")
              .select(({ fn }) => [
                "generations.repository_id",
                fn.max("generations.generation").as("generation"),
              ])
              .where("repositories.network_id", "=", networkId)
              .where("generations.time", "<=", timeMs)
              .groupBy("generations.repository_id")
              .as("kept"),
          (on) =>
            on
              .onRef("kept.repository_id", "=", "old.repository_id")
              .onRef("kept.generation", ">", "old.generation"),
        )
        .select("old.commit_id")
        .limit(FORGOTTEN_AT_ONCE),
    );

  return {
    async listGenerations(repositoryId, { before, limit }) {
      const some =
        before === undefined ? of(repositoryId) : of(repositoryId).where("generation", "<", before);
      const ordered = some.orderBy("generation", "desc").limit(limit);
      return (await run("read", () => all(ordered))).map(generationOf);
    },
    async getGeneration(repositoryId, generation) {
      const row = await run("read", () => first(of(repositoryId).where("generation", "=", generation)));
      return row === undefined ? undefined : generationOf(row);
    },
    async generationAt(repositoryId, timeMs) {
      const before = of(repositoryId)
        .where("time", "<=", timeMs)
        .orderBy("time", "desc")
        .orderBy("generation", "desc")
        .limit(1);
      const row = await run("read", () => first(before));
      return row === undefined ? undefined : generationOf(row);
    },
    async oldestGeneration(repositoryId) {
      const row = await run("read", () => first(of(repositoryId).orderBy("generation").limit(1)));
      return row === undefined ? undefined : generationOf(row);
    },
    forgetGenerations: (repositoryId, before) =>
      run("statement", () =>
        affect(
          db
            .deleteFrom("generations")
            .where("repository_id", "=", repositoryId)
            .where("generation", "<", before)
            .where("generation", "<", (inner) =>
              inner.selectFrom("repositories").select("generation").where("id", "=", repositoryId),
            ),
        ),
      ),
    async forgetOldGenerations(networkId, beforeMs) {
      let count = 0;
      for (;;) {
        await othersTurn();
        const some = await run("statement", () => affect(forgetSome(networkId, beforeMs)));
        count += some;
        if (some < FORGOTTEN_AT_ONCE) return count;
      }
    },
  };
}
