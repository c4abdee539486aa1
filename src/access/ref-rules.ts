/** Ordered rules about refs: the first that matches decides. */
import type { RefAction, RefRule } from "../engine/identity.js";
import type { PushCommand } from "../engine/push.js";
import { isNullObjectId } from "../object/object-id.js";
import { compilePatterns } from "./name-pattern.js";

export const REF_ACTIONS: readonly RefAction[] = ["create", "update", "force", "delete"];

/** What a command may turn out to be, as long as nobody has looked at the commits. */
export function possibleActions({ oldOid, newOid }: PushCommand): readonly RefAction[] {
  if (isNullObjectId(newOid)) return ["delete"];
  if (isNullObjectId(oldOid)) return ["create"];
  return ["update", "force"];
}

export function decideByRefRules(
  rules: readonly RefRule[],
  ref: string,
  action: RefAction,
): RefRule | undefined {
  return rules.find(
    ({ refs, actions }) => (actions === undefined || actions.includes(action)) && compilePatterns(refs)(ref),
  );
}
