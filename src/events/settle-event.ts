/**
 * Has a ref moved that was to move when its server was killed? Asked of the ref under its lock, so that nobody is
 * between the two at that moment. A ref that is neither where it was nor where it was to go has moved: it went on from
 * there. Not so the first refs of a repository: what stands there may be another push's, which was faster.
 */
import type { StoredEvent } from "../database/event-store.js";
import { isNullObjectId } from "../object/object-id.js";
import type { RefUpdateResult } from "../storage/contracts/ref-store.js";
import type { Repository } from "../storage/contracts/repository.js";

/** A lock that is held so long was left by a process that is gone. */
const LOCK_LEFT_MS = 600_000;
/** So long a new repository may be on its way to its place. */
const PLACED_WITHIN_MS = 60_000;

export type Unsettled = Pick<StoredEvent, "refName" | "oldOid" | "newOid" | "createdAt" | "isFirst">;

/**
 * @param repository undefined: it is gone, or not there yet
 * @returns undefined: it cannot be told yet; ask again
 */
export async function hasMoved(
  repository: Pick<Repository, "refs" | "snapshot"> | undefined,
  event: Unsettled,
): Promise<boolean | undefined> {
  const { refName, oldOid, newOid, createdAt, isFirst } = event;
  const ageMs = Date.now() - createdAt;
  if (isFirst) {
    const now = repository === undefined ? undefined : await valueOf(repository, refName);
    if (now === newOid) return true;
    return ageMs < PLACED_WITHIN_MS ? undefined : false;
  }
  // It was there, and who removed it had no more to say of it.
  if (repository === undefined) return true;
  const wasAbsent = isNullObjectId(oldOid);
  let isWhereItWas = false;
  // To where it was, from where it was; given up when that turns out to be so.
  const [result] = await repository.refs.transact({
    updates: [{ name: refName, oldOid: wasAbsent ? null : oldOid, newOid: wasAbsent ? newOid : oldOid }],
    atomic: true,
    onState: (state) => {
      if (state === "prepared") isWhereItWas = true;
      return false;
    },
  });
  if (isWhereItWas) return false;
  const code = codeOf(result);
  if (code === "stale" || code === "exists" || code === "missing") return true;
  // Another ref is in its way: it was not made.
  if (code === "name-conflict" && wasAbsent) return false;
  const now = await valueOf(repository, refName);
  const isElsewhere = wasAbsent ? now !== undefined : now !== oldOid;
  // Whoever holds it, what is not where it was has moved; where it was, it may be about to.
  return isElsewhere || (code === "locked" && ageMs < LOCK_LEFT_MS ? undefined : false);
}

/** The same, of a ref that is under the caller's lock. */
export function hasMovedTo(foundOid: string | undefined, event: Unsettled): boolean {
  return event.isFirst ? foundOid === event.newOid : foundOid !== event.oldOid;
}

async function valueOf(
  repository: Pick<Repository, "snapshot">,
  refName: string,
): Promise<string | undefined> {
  const snapshot = await repository.snapshot();
  try {
    return snapshot.refs.get(refName)?.oid;
  } finally {
    snapshot.release();
  }
}

function codeOf(result: RefUpdateResult | undefined): string | undefined {
  return result === undefined || result.ok ? undefined : result.code;
}
