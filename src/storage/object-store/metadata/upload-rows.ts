/** Which keys may be in the bucket though no pack row lists them. Who changes a row from "open" decides what becomes of them. */
import { randomUUID } from "node:crypto";
import { affect, all, first } from "../../../database/database-work.js";
import type { MetadataDatabase } from "./metadata-database.js";
import { keysOf, uploadOf } from "./metadata-rows.js";
import type { MetadataStore } from "./metadata-store.js";

/** More of one repository than are made in a day. */
const BUNDLES_MAX = 100;

export function uploadRows({
  db,
  run,
  now,
}: MetadataDatabase): Pick<
  MetadataStore,
  | "beginUpload"
  | "setUploadKeys"
  | "touchUpload"
  | "takeUpload"
  | "endUpload"
  | "keepBundle"
  | "listBundles"
  | "listUploads"
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
    async setUploadKeys(id, keys) {
      const set = await run("statement", () =>
        affect(
          db
            .updateTable("uploads")
            .set({ keys: JSON.stringify(keys), touched_at: now() })
            .where("id", "=", id)
            .where("state", "=", "open"),
        ),
      );
      return set === 1;
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
    async keepBundle(id, note) {
      const kept = await run("statement", () =>
        affect(
          db
            .updateTable("uploads")
            .set({ bundle: note, touched_at: now() })
            .where("id", "=", id)
            .where("state", "=", "open"),
        ),
      );
      return kept === 1;
    },
    async listBundles(repositoryId) {
      const rows = await run("read", () =>
        all(
          db
            .selectFrom("uploads")
            .selectAll()
            .select((column) => column(now(), "-", column.ref("touched_at")).as("untouched_ms"))
            .where("repository_id", "=", repositoryId)
            .where("state", "=", "open")
            .where("bundle", "is not", null)
            .orderBy("touched_at", "desc")
            .limit(BUNDLES_MAX),
        ),
      );
      return rows.map((row) => ({
        id: row.id,
        key: keysOf(row)[0] ?? "",
        note: row.bundle ?? "",
        untouchedMs: Number(row.untouched_ms),
      }));
    },
    async listUploads({ olderThanMs, limit, state }) {
      const old = db.selectFrom("uploads").selectAll().where("touched_at", "<=", now(-olderThanMs));
      const some = state === undefined ? old : old.where("state", "=", state);
      const ordered = some.orderBy("touched_at").orderBy("id").limit(limit);
      return (await run("read", () => all(ordered))).map(uploadOf);
    },
  };
}
