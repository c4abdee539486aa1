/** Refusals of whole packs, in git's words where git has them. */
import { GitwharfError } from "../../base/errors.js";
import type { ObjectId } from "../../object/object-id.js";

export function unresolvedError(count: number, baseOid: ObjectId | undefined): GitwharfError {
  const needed = baseOid === undefined ? "" : `; object ${baseOid} is needed as a base and is nowhere`;
  return new GitwharfError(
    "pack/missing-base",
    `pack has ${count} unresolved delta${count === 1 ? "" : "s"}${needed}`,
    {
      details: { count, baseOid },
    },
  );
}

export function duplicateError(oid: ObjectId): GitwharfError {
  return new GitwharfError("pack/bad-pack", `The same object ${oid} appears twice in the pack`, {
    details: { oid },
  });
}
