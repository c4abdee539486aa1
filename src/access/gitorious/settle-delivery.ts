/**
 * Has a ref moved that was to move when its server was killed? Asked of the ref under its lock, so that nobody is
 * between the two at that moment. A ref that is neither where it was nor where it was to go has moved: it went on from
 * there.
 */
import { isNullObjectId } from "../../object/object-id.js";
import type { RefUpdateResult } from "../../storage/contracts/ref-store.js";
import type { Repository } from "../../storage/contracts/repository.js";
import type { Delivery } from "../../database/delivery-store.js";

/** A lock that is held so long was left by a process that is gone. */
const LOCK_LEFT_MS = 600_000;

/** undefined: the ref is being changed; ask again. */
export async function hasMoved(
  repository: Pick<Repository, "refs" | "snapshot">,
  delivery: Pick<Delivery, "refName" | "oldOid" | "newOid" | "createdAt">,
): Promise<boolean | undefined> {
  const { refName, oldOid, newOid, createdAt } = delivery;
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
  if (code === "locked" && Date.now() - createdAt < LOCK_LEFT_MS) return undefined;
  return hasMovedBySight(repository, delivery);
}

async function hasMovedBySight(
  repository: Pick<Repository, "snapshot">,
  { refName, oldOid }: Pick<Delivery, "refName" | "oldOid">,
): Promise<boolean> {
  const snapshot = await repository.snapshot();
  try {
    const now = snapshot.refs.get(refName)?.oid;
    return isNullObjectId(oldOid) ? now !== undefined : now !== oldOid;
  } finally {
    snapshot.release();
  }
}

function codeOf(result: RefUpdateResult | undefined): string | undefined {
  return result === undefined || result.ok ? undefined : result.code;
}
