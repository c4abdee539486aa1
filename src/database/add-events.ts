/** Events of refs that move in the same transaction: they are there if and only if the refs have moved. */
import type { Kysely } from "kysely";
import { GitwharfError } from "../base/errors.js";
import { affect, all, type DatabaseWork, first } from "./database-work.js";
import { type EventOrigin, eventRow, type NewEvent } from "./event-store.js";
import type { Schema } from "./schema.js";

/** One of a push that has not been decided yet. */
export interface EventDraft {
  readonly origin: EventOrigin;
  readonly ref: NewEvent;
}

/** SQLite takes 32,766 values in a statement. */
const ROWS_AT_ONCE = 500;
/** Others who write at the same time take the place that was looked up. */
const ATTEMPTS_MAX = 50;

/** At the end of their repository's list, in this order. @param drafts all of one repository */
export function* addEvents(db: Kysely<Schema>, drafts: readonly EventDraft[]): DatabaseWork<void> {
  const repository = drafts[0]?.origin.repository ?? "";
  let left = drafts;
  for (let attempts = 0; left.length > 0; attempts++) {
    if (attempts === ATTEMPTS_MAX + Math.ceil(drafts.length / ROWS_AT_ONCE))
      throw new GitwharfError("storage/io", "others wrote events of the repository each time this was tried");
    const some = left.slice(0, ROWS_AT_ONCE);
    const last = yield* first(
      db
        .selectFrom("events")
        .select((column) => column.fn.max<number | null>("position").as("position"))
        .where("repository", "=", repository),
    );
    const rows = some.map(({ origin, ref }, i) =>
      eventRow(origin, ref, { position: (last?.position ?? 0) + 1 + i, hasMoved: true }),
    );
    // A conflict that is an error would be the end of the transaction.
    const added = yield* all(
      db
        .insertInto("events")
        .values(rows)
        .onConflict((conflict) => conflict.doNothing())
        .returning("id"),
    );
    if (added.length === rows.length) {
      left = left.slice(some.length);
      continue;
    }
    // All of these once more: they are to stay in order.
    const ids = added.map(({ id }) => id);
    if (ids.length > 0) yield* affect(db.deleteFrom("events").where("id", "in", ids));
  }
}
