/**
 * What a repository's configuration forbids, in git's words. The order of the checks is that of git-receive-pack.
 */
import { isPromise } from "../../base/maybe-promise.js";
import { isAncestor } from "../../engine/ancestry.js";
import type { Push, PushCommand, Verdict } from "../../engine/push.js";
import { isNullObjectId } from "../../object/object-id.js";
import { checkRefName } from "../../object/ref-name.js";

import { hiddenRefsOf, type ReceivePackContext } from "./receive-pack-context.js";

/** What can be said before the pack is read: names. */
export function checkCommandName(context: ReceivePackContext, command: PushCommand): Verdict {
  if (isFunny(command)) return "funny refname";
  if (hiddenRefsOf(context)(command.name)) {
    return isNullObjectId(command.newOid) ? "deny deleting a hidden ref" : "deny updating a hidden ref";
  }
  return undefined;
}

/** `refs/heads` as a ref would be the end of all branches: what has one level may be deleted, never made. */
function isFunny({ name, newOid }: PushCommand): boolean {
  if (!name.startsWith("refs/") || checkRefName(name) !== undefined) return true;
  return !isNullObjectId(newOid) && !name.slice("refs/".length).includes("/");
}

/** What is said once the objects are there and pre-receive has agreed. */
export async function checkPushPolicy(
  context: ReceivePackContext,
  push: Push,
  command: PushCommand,
): Promise<Verdict> {
  const { receive } = context.settings;
  const isBranch = command.name.startsWith("refs/heads/");
  const deletes = isNullObjectId(command.newOid);
  const used = (await context.repository.checkedOutBranches()).get(command.name);
  const workTree = used?.bare === false ? used : undefined;
  if (workTree !== undefined) {
    const refusal = await checkCheckedOut(context, push, command);
    if (refusal !== undefined) return refusal;
  }
  if (deletes) {
    if (receive.denyDeletes && isBranch) return "deletion prohibited";
    const isCurrent = workTree !== undefined || push.snapshot.head.symbolicTarget === command.name;
    if (isCurrent && receive.denyDeleteCurrent === "refuse")
      return "deletion of the current branch prohibited";
    if (isCurrent && receive.denyDeleteCurrent === "warn")
      await push.print("warning: deleting the current branch\n");
    return undefined;
  }
  if (isBranch) {
    const header = push.objects.readHeader(command.newOid);
    const type = (isPromise(header) ? await header : header)?.type;
    if (type !== "commit") return "failed to update ref: a branch must name a commit";
  }
  if (receive.denyNonFastForwards && isBranch && !isNullObjectId(command.oldOid)) {
    const forward = await isAncestor(push.objects, command.oldOid, command.newOid, {
      shallow: push.snapshot.shallow,
      signal: push.signal,
    });
    if (!forward) return "non-fast-forward";
  }
  return undefined;
}

async function checkCheckedOut(
  context: ReceivePackContext,
  push: Push,
  command: PushCommand,
): Promise<Verdict> {
  switch (context.settings.receive.denyCurrentBranch) {
    case "ignore":
    case "updateInstead":
      return undefined;
    case "warn":
      await push.print("warning: updating the current branch\n");
      return undefined;
    case "refuse":
      await push.print(
        `error: refusing to update checked out branch: ${command.name}\n` +
          "The work tree and index of the repository would no longer match what is pushed.\n" +
          "Push to another branch, or set receive.denyCurrentBranch there.\n",
      );
      return "branch is currently checked out";
  }
}
