/** Moves the refs of the commands that are left: one transaction, atomic or each on its own. */
import { isNullObjectId } from "../../object/object-id.js";
import type { PushCommand } from "../../engine/push.js";
import type { RefUpdate } from "../../storage/contracts/ref-store.js";
import { withRequestId } from "../service.js";
import type { CommandResult } from "./report-status.js";
import { isSubstituted, type PushState, standing } from "./push-state.js";

export async function moveRefs(state: PushState): Promise<void> {
  const { context, push, snapshot } = state;
  const moving: CommandResult[] = [];
  for (const result of standing(state)) {
    if (isSubstituted(result) || result.follows !== undefined) continue;
    const { command } = result;
    if (isNullObjectId(command.newOid) && snapshot.refs.get(command.name) === undefined) {
      // git takes this for done, too: a broken ref may be what is to be deleted.
      await push.print(`warning: deleting a non-existent ref: ${command.name}\n`);
      if (!snapshot.refs.broken.includes(command.name)) {
        result.changedNothing = true;
        continue;
      }
    }
    moving.push(result);
  }
  if (moving.length === 0) return;
  const commandOf = new Map(moving.map(({ command }) => [command.name, command]));
  /** Refs about which a handler threw. */
  const undecided = new Set<string>();
  const user = context.identity.user ?? "anonymous";
  const answers = await context.repository.refs.transact({
    updates: moving.map(({ command }) => updateOf(command)),
    atomic: state.atomic,
    committer: {
      name: user,
      email: `${user}@${context.address ?? "localhost"}`,
      timeSeconds: Math.floor(Date.now() / 1000),
    },
    onState: async (phase, updates) => {
      const commands = updates
        .map((update) => commandOf.get(update.name))
        .filter((command) => command !== undefined);
      let agreed = true;
      for (const handlers of context.handlers) {
        try {
          if ((await handlers.referenceTransaction?.(push, phase, commands)) === false) agreed = false;
        } catch (error) {
          if (phase === "prepared" && context.signal.aborted) throw error;
          // Failing closed, as all handlers do; once the refs have moved, what is said of them stays true.
          context.onHandlerError("referenceTransaction", error);
          if (phase !== "prepared") continue;
          agreed = false;
          for (const { name } of commands) undecided.add(name);
        }
      }
      return agreed;
    },
    signal: context.signal,
  });
  moving.forEach((result, i) => {
    const answer = answers[i];
    if (answer?.ok !== false) return;
    const { reason } = answer;
    result.refusal = undecided.has(result.command.name)
      ? withRequestId(reason, context.activity?.requestId)
      : reason;
  });
}

function updateOf(command: PushCommand): RefUpdate {
  const creates = isNullObjectId(command.oldOid);
  const deletes = isNullObjectId(command.newOid);
  return {
    name: command.name,
    oldOid: creates ? null : command.oldOid,
    newOid: deletes ? null : command.newOid,
    reflogMessage: "push",
  };
}
