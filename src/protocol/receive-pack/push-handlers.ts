/** Calls the application's handlers and the policy, in git's order. A handler that throws refuses. */
import { GitwharfError } from "../../base/errors.js";
import { inStep } from "../../base/activity.js";
import type { MaybePromise } from "../../base/maybe-promise.js";
import type { ChangedRef, ProcReceiveResult, Push, Verdict } from "../../engine/push.js";
import { withRequestId } from "../service.js";
import { findAliasedUpdates } from "./aliased-updates.js";
import { matchesProcReceive } from "./proc-receive-refs.js";
import { checkPushPolicy, updateWorkTree } from "./push-policy.js";
import { isSubstituted, type PushState, standing } from "./push-state.js";
import type { CommandResult } from "./report-status.js";
import type { ReceivePackContext } from "./receive-pack-context.js";

/** pre-receive for all, then policy and update for each that is not proc-receive's. */
export async function runHandlers(state: PushState): Promise<void> {
  const { context, push, results } = state;
  if (standing(state).length === 0) return;
  for (const handlers of context.handlers) {
    const verdict = await ask(context, "preReceive", () => handlers.preReceive?.(push), {
      whenItThrows: "pre-receive hook declined",
    });
    if (verdict === undefined) continue;
    for (const result of results) result.refusal ??= verdict;
    // The protocol has done its part; for those who look on, the push was denied.
    context.activity?.failed(new GitwharfError("access/denied", verdict));
    return;
  }
  await findAliasedUpdates(state);
  for (const result of standing(state)) {
    if (!isForProcReceive(state, result) && result.follows === undefined) await judge(state, result);
  }
}

async function judge({ context, push }: PushState, result: CommandResult): Promise<void> {
  result.refusal = await ask(context, "policy", () => checkPushPolicy(context, push, result.command), {
    whenItThrows: "policy check failed",
  });
  for (const handlers of context.handlers) {
    result.refusal ??= await ask(context, "update", () => handlers.update?.(push, result.command), {
      whenItThrows: "hook declined",
    });
  }
}

function isForProcReceive({ context }: PushState, { command }: CommandResult): boolean {
  return matchesProcReceive(context.settings.receive.procReceiveRefs, command);
}

/**
 * proc-receive for those that are its, once the objects are published: it may move refs to them itself. What it lets
 * fall through is judged as any other.
 */
export async function runProcReceive(state: PushState): Promise<void> {
  const { context, push } = state;
  const mine = standing(state).filter(
    (result) => isForProcReceive(state, result) && result.follows === undefined,
  );
  if (mine.length === 0) return;
  const handler = context.handlers.find((handlers) => handlers.procReceive !== undefined);
  let answers: readonly ProcReceiveResult[] = [];
  const notRun = "fail to run proc-receive hook";
  const deliver = async (): Promise<Verdict> => {
    if (handler?.procReceive === undefined) return notRun;
    answers = await handler.procReceive(
      push,
      mine.map(({ command }) => command),
    );
    return undefined;
  };
  const failed = await ask(context, "procReceive", () => inStep(context.activity, "proc-receive", deliver), {
    whenItThrows: notRun,
  });
  const answersOf = new Map<string, ProcReceiveResult[]>();
  for (const answer of answers) {
    const known = answersOf.get(answer.name);
    if (known === undefined) answersOf.set(answer.name, [answer]);
    else known.push(answer);
  }
  for (const result of standing(state)) {
    if (isForProcReceive(state, result)) continue;
    result.refusal = answersOf
      .get(result.command.name)
      ?.find(({ refusal }) => refusal !== undefined)?.refusal;
  }
  for (const result of mine) {
    const own = answersOf.get(result.command.name) ?? [];
    const refused = own.find((answer) => answer.refusal !== undefined);
    if (failed !== undefined) result.refusal = failed;
    else if (own.length === 0) result.refusal = "proc-receive failed to report status";
    else if (refused !== undefined) result.refusal = refused.refusal;
    else result.substitutes = own;
    if (result.refusal === undefined && !isSubstituted(result)) await judge(state, result);
  }
}

/** The work trees that show a pushed branch, after everything that may refuse but the refs themselves. */
export async function updateWorkTrees(state: PushState): Promise<void> {
  const { context, push, atomic } = state;
  for (const result of standing(state)) {
    if (isSubstituted(result)) continue;
    result.refusal = await ask(
      context,
      "pushToCheckout",
      () => updateWorkTree(context, push, result.command),
      { whenItThrows: "push-to-checkout hook declined" },
    );
    if (atomic && result.refusal !== undefined) return;
  }
}

/** After the report. What goes wrong here cannot be undone: the pusher is told, and that is all. */
export async function runPostReceive(state: PushState): Promise<void> {
  const { context } = state;
  // They work to their end: the pusher may leave now.
  const push: Push = { ...state.push, signal: context.closing ?? context.signal };
  const done = state.results
    .filter((result) => result.refusal === undefined && result.changedNothing !== true)
    .flatMap(changesOf);
  if (done.length === 0) return;
  for (const handlers of context.handlers) {
    const tell = async (): Promise<Verdict> => {
      await handlers.postReceive?.(push, done);
      return undefined;
    };
    const failed = await ask(context, "postReceive", tell, {
      whenItThrows: "the post-receive handler failed",
    });
    if (failed !== undefined) await push.print(`warning: ${failed}\n`);
  }
}

/** What a command came to: where proc-receive moved other refs, those. */
function changesOf({ command, substitutes }: CommandResult): readonly ChangedRef[] {
  if (substitutes.length === 0) return [command];
  return substitutes.map(({ refName, oldOid, newOid }) => ({
    name: refName ?? command.name,
    oldOid: oldOid ?? command.oldOid,
    newOid: newOid ?? command.newOid,
    ...(refName === undefined || refName === command.name ? {} : { pushedAs: command.name }),
  }));
}

async function ask(
  context: Pick<ReceivePackContext, "onHandlerError" | "activity">,
  handler: string,
  question: () => MaybePromise<Verdict>,
  { whenItThrows }: { readonly whenItThrows: string },
): Promise<Verdict> {
  try {
    return await question();
  } catch (error) {
    // Failing closed; what a handler throws may hold secrets and is not for the pusher.
    context.onHandlerError(handler, error);
    return withRequestId(whenItThrows, context.activity?.requestId);
  }
}
