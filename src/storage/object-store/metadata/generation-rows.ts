/** What a repository was: rows that commits add. */
import { affect, all, first } from "../../../database/database-work.js";
import type { MetadataDatabase } from "./metadata-database.js";
import { generationOf } from "./metadata-rows.js";
import type { MetadataStore } from "./metadata-store.js";

export function generationRows({
  db,
  run,
}: MetadataDatabase): Pick<
  MetadataStore,
  "listGenerations" | "getGeneration" | "generationAt" | "forgetGenerations"
> {
  const of = (repositoryId: string) =>
    db.selectFrom("generations").selectAll().where("repository_id", "=", repositoryId);
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
  };
}
