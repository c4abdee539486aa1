/** Events of refs that move in the same transaction: they are there if and only if the refs have moved. Of many they are packed. */
import type { Kysely } from "kysely";
import { GitwharfError } from "../base/errors.js";
import { affect, all, type DatabaseWork, first } from "./database-work.js";
import { type EventOrigin, eventRow, type NewEvent } from "./event-store.js";
import { PACKED_AT_ONCE, PACKED_MIN, packedColumns } from "./packed-events.js";
import type { EventsTable, Schema } from "./schema.js";

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
  const made = madeRows(drafts);
  let left = made;
  for (let attempts = 0; left.length > 0; attempts++) {
    if (attempts === ATTEMPTS_MAX + Math.ceil(made.length / ROWS_AT_ONCE))
      throw new GitwharfError("storage/io", "others wrote events of the repository each time this was tried");
    const some = left.slice(0, ROWS_AT_ONCE);
    const last = yield* first(
      db
        .selectFrom("events")
        .select((column) => column.fn.max<number | null>("position").as("position"))
        .where("repository", "=", repository),
    );
    const rows = some.map((make, i) => make((last?.position ?? 0) + 1 + i));
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

/** What is to be inserted, once its place is known. */
function madeRows(drafts: readonly EventDraft[]): readonly ((position: number) => EventsTable)[] {
  const origin = drafts[0]?.origin;
  if (origin === undefined || drafts.length < PACKED_MIN || drafts.some((draft) => draft.origin !== origin))
    return drafts.map(
      (draft) => (position) => eventRow(draft.origin, draft.ref, { position, hasMoved: true }),
    );
  const rows: ((position: number) => EventsTable)[] = [];
  for (let at = 0; at < drafts.length; at += PACKED_AT_ONCE) {
    const refs = drafts.slice(at, at + PACKED_AT_ONCE).map(({ ref }) => ref);
    const packed = packedColumns(origin, refs);
    const [first] = refs as [NewEvent];
    rows.push((position) => ({ ...eventRow(origin, first, { position, hasMoved: true }), ...packed }));
  }
  return rows;
}
