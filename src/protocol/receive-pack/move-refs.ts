/** Moves the refs of the commands that are left: one transaction, atomic or each on its own. */
import { throwIfAborted } from "../../base/errors.js";
import { isNullObjectId } from "../../object/object-id.js";
import type { PushCommand } from "../../engine/push.js";
import type { RefUpdate, RefUpdateResult } from "../../storage/contracts/ref-store.js";
import { withRequestId } from "../service.js";
import { askHandler } from "./ask-handler.js";
import type { CommandResult } from "./report-status.js";
import { isSubstituted, type PushState, standing } from "./push-state.js";

export async function moveRefs(state: PushState): Promise<void> {
  const { push, snapshot } = state;
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
  const answers = await transactRefs(
    state,
    moving.map(({ command }) => command),
  );
  // A handler may have said why.
  state.rejections.apply(moving.filter((_, i) => answers[i]?.ok === false));
  moving.forEach((result, i) => {
    const answer = answers[i];
    if (answer?.ok === false) result.refusal ??= answer.reason;
  });
}

/** Compares and swaps, and asks referenceTransaction. */
export async function transactRefs(
  state: PushState,
  moving: readonly PushCommand[],
): Promise<readonly RefUpdateResult[]> {
  const { context } = state;
  const commandOf = new Map(moving.map((command) => [command.name, command]));
  /** Refs about which a handler threw, or did not answer. */
  const undecided = new Map<string, string | undefined>();
  const user = context.identity.user ?? "anonymous";
  const answers = await context.repository.refs.transact({
    updates: moving.map(updateOf),
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
        if (handlers.referenceTransaction === undefined) continue;
        const answer = await askHandler(state, {
          name: "referenceTransaction",
          handlers,
          ask: ({ push, refOf }) => handlers.referenceTransaction?.(push, phase, commands.map(refOf)),
        });
        if (answer.ok) {
          if (answer.value === false) agreed = false;
          continue;
        }
        // Once the refs have moved, what is said of them stays true.
        if (phase !== "prepared") continue;
        throwIfAborted(context.signal);
        agreed = false;
        for (const { name } of commands) undecided.set(name, answer.why);
      }
      return agreed && !(phase === "prepared" && state.rejections.includes(commands));
    },
    signal: context.signal,
  });
  return answers.map((answer) =>
    answer.ok || !undecided.has(answer.name)
      ? answer
      : {
          ...answer,
          reason: undecided.get(answer.name) ?? withRequestId(answer.reason, context.activity?.requestId),
        },
  );
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
