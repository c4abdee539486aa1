/**
 * Events of many refs that move at once, as few rows: a push of a hundred thousand refs is to hold nobody up for longer than its
 * transaction takes without them. A packed row has its place in the order as an event has; whoever gives it its turn replaces it by
 * its events, each with a cursor of its own, in one transaction. So none of it is ever told by half, or twice.
 *
 *     COLUMN      OF A PACKED ROW
 *     has_moved   2
 *     about       JSON: what the push is (`about`), and its refs: name, old id, new id, whether forced (null: nobody has looked)
 *     ref_name, old_oid, new_oid   empty
 */
import type { EventAbout, EventOrigin, NewEvent } from "./event-store.js";
import type { EventsTable } from "./schema.js";

/** Fewer are rows of their own at once. */
export const PACKED_MIN = 1000;
/** Of one row: what is told in one transaction. */
export const PACKED_AT_ONCE = 250;
const PACKED = 2;

interface PackedAbout {
  readonly about: EventAbout;
  readonly refs: readonly (readonly [name: string, oldOid: string, newOid: string, forced: boolean | null])[];
}

export function isPacked({ has_moved: state }: Pick<EventsTable, "has_moved">): boolean {
  return state === PACKED;
}

/** What makes a row of an event a packed one. */
export function packedColumns(
  { about }: Pick<EventOrigin, "about">,
  refs: readonly NewEvent[],
): Pick<EventsTable, "has_moved" | "about" | "ref_name" | "old_oid" | "new_oid" | "forced"> {
  const packed: PackedAbout = {
    about,
    refs: refs.map(({ refName, oldOid, newOid, forced }) => [refName, oldOid, newOid, forced ?? null]),
  };
  const none = { ref_name: "", old_oid: "", new_oid: "", forced: null };
  return { ...none, has_moved: PACKED, about: JSON.stringify(packed) };
}

export function unpacked(row: EventsTable): {
  readonly origin: EventOrigin;
  readonly refs: readonly NewEvent[];
} {
  const { about, refs } = JSON.parse(row.about) as PackedAbout;
  return {
    origin: { repository: row.repository, pushId: row.push_id, user: row.user_name, about },
    refs: refs.map(([refName, oldOid, newOid, forced]) => ({
      refName,
      oldOid,
      newOid,
      ...(forced === null ? {} : { forced }),
    })),
  };
}
