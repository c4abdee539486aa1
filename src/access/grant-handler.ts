/**
 * The part of a grant that needs objects: whether a change of a ref is a forced one. Before pre-receive of anybody else,
 * on the quarantine.
 */
import type { PushHandlers } from "../engine/push.js";
import { checkRefAgainstGrant } from "./grant.js";
import { actionOf } from "./push-action.js";
import { possibleActions } from "./ref-rules.js";

export function createGrantHandler(): PushHandlers {
  return {
    async preReceive(push) {
      for (const command of push.commands) {
        const refusals = possibleActions(command).map((action) =>
          checkRefAgainstGrant(push.identity, command.name, action),
        );
        if (refusals.every((refusal) => refusal === undefined)) continue;
        const refusal =
          refusals.length === 1
            ? refusals[0]
            : checkRefAgainstGrant(push.identity, command.name, await actionOf(push, command));
        if (refusal !== undefined) return refusal;
      }
      return undefined;
    },
  };
}
