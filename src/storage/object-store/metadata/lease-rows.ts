/** Leases as rows, one for each piece of work; each change is one statement. */
import { affect, first } from "../../../database/database-work.js";
import type { LeaseStore } from "./lease-store.js";
import type { MetadataDatabase } from "./metadata-database.js";

/** No owner has this name. */
const NOBODY = "";

export function leaseRows({ db, run, now }: MetadataDatabase): LeaseStore {
  return {
    async takeLease({ name, owner }, forMs) {
      const taken = { owner, expires_at: now(forMs) };
      const row = await run("statement", () =>
        first(
          db
            .insertInto("leases")
            .values({ name, ...taken, note: "" })
            .onConflict((conflict) =>
              conflict
                .column("name")
                .doUpdateSet(taken)
                .where((column) =>
                  column.or([column("leases.owner", "=", owner), column("leases.expires_at", "<=", now())]),
                ),
            )
            .returning("note"),
        ),
      );
      return row;
    },
    async releaseLease({ name, owner }, after) {
      await run("statement", () =>
        affect(
          after === undefined
            ? db.deleteFrom("leases").where("name", "=", name).where("owner", "=", owner)
            : db
                .updateTable("leases")
                .set({ owner: NOBODY, expires_at: now(after.restMs), note: after.note })
                .where("name", "=", name)
                .where("owner", "=", owner),
        ),
      );
    },
    forgetLeases: (olderThanMs) =>
      run("statement", () => affect(db.deleteFrom("leases").where("expires_at", "<=", now(-olderThanMs)))),
  };
}
