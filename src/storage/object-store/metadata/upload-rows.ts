/** Which keys may be in the bucket though no pack row lists them. Who changes a row from "open" decides what becomes of them. */
import { randomUUID } from "node:crypto";
import { affect, all, first } from "../../../database/database-work.js";
import type { MetadataDatabase } from "./metadata-database.js";
import { keysOf, uploadOf } from "./metadata-rows.js";
import type { MetadataStore } from "./metadata-store.js";

export function uploadRows({
  db,
  run,
  now,
}: MetadataDatabase): Pick<
  MetadataStore,
  "beginUpload" | "touchUpload" | "takeUpload" | "endUpload" | "listUploads"
> {
  return {
    async beginUpload({ repositoryId, networkId, keys, owner }) {
      const id = randomUUID();
      const row = {
        id,
        network_id: networkId,
        repository_id: repositoryId,
        keys: JSON.stringify(keys),
        owner,
      };
      await run("statement", () =>
        affect(
          db
            .insertInto("uploads")
            .values({ ...row, state: "open", touched_at: now() })
            .onConflict((conflict) => conflict.doNothing()),
        ),
      );
      return id;
    },
    async touchUpload(id) {
      const touched = await run("statement", () =>
        affect(
          db
            .updateTable("uploads")
            .set({ touched_at: now() })
            .where("id", "=", id)
            .where("state", "=", "open"),
        ),
      );
      return touched === 1;
    },
    async takeUpload(id) {
      const taken = await run("statement", () =>
        first(
          db
            .updateTable("uploads")
            .set((column) => ({
              state: "taken",
              // Once: who takes it again does not make it younger.
              touched_at: column
                .case()
                .when("state", "=", "open")
                .then(now())
                .else(column.ref("touched_at"))
                .end(),
            }))
            .where("id", "=", id)
            .returning("keys"),
        ),
      );
      return taken === undefined ? undefined : keysOf(taken);
    },
    async endUpload(id) {
      await run("statement", () =>
        affect(db.deleteFrom("uploads").where("id", "=", id).where("state", "=", "taken")),
      );
    },
    async listUploads({ olderThanMs, limit, state }) {
      const old = db.selectFrom("uploads").selectAll().where("touched_at", "<=", now(-olderThanMs));
      const some = state === undefined ? old : old.where("state", "=", state);
      const ordered = some.orderBy("touched_at").orderBy("id").limit(limit);
      return (await run("read", () => all(ordered))).map(uploadOf);
    },
  };
}
