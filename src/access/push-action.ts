/** What a command of a push does to its ref, now that its objects are there. */
import { isAncestor } from "../engine/ancestry.js";
import type { RefAction } from "../engine/identity.js";
import type { Push, PushCommand } from "../engine/push.js";
import { possibleActions } from "./ref-rules.js";

/** A tag that is moved, or anything else that is no commit, is forced: nothing says that the new one contains the old. */
export async function actionOf(push: Push, command: PushCommand): Promise<RefAction> {
  const [first = "update"] = possibleActions(command);
  if (first !== "update") return first;
  const forward = await isAncestor(push.objects, command.oldOid, command.newOid, {
    shallow: push.snapshot.shallow,
    signal: push.signal,
  });
  return forward ? "update" : "force";
}
