/** Calls the application's handlers and the policy, in git's order. A handler that throws refuses. */
import { GitwharfError } from "../../base/errors.js";
import { inStep } from "../../base/activity.js";
import { WorkBudget } from "../../engine/fetch/work-budget.js";
import type { ChangedRef, ProcReceiveResult, PushCommand, PushHandlers, Verdict } from "../../engine/push.js";
import type { PushView } from "../../engine/pushed/create-push.js";
import { withRequestId } from "../service.js";
import { findAliasedUpdates } from "./aliased-updates.js";
import { askHandler, type HandlerQuestion } from "./ask-handler.js";
import { procReceiveOwner } from "./proc-receive-owner.js";
import { checkPushPolicy } from "./push-policy.js";
import { isSubstituted, type PushState, standing } from "./push-state.js";
import type { CommandResult } from "./report-status.js";

/** pre-receive for all, then policy and update for each that is not proc-receive's. */
export async function runHandlers(state: PushState): Promise<void> {
  const { context, results } = state;
  if (standing(state).length === 0) return;
  for (const handlers of context.handlers) {
    if (handlers.preReceive === undefined) continue;
    const verdict = await ask(state, {
      name: "preReceive",
      handlers,
      ask: ({ push }) => handlers.preReceive?.(push),
      whenItThrows: "pre-receive hook declined",
    });
    for (const result of verdict === undefined ? [] : results) result.refusal ??= verdict;
    const refusal = verdict ?? state.rejections.apply(results);
    if (refusal === undefined) continue;
    // The protocol has done its part; for those who look on, the push was denied.
    context.activity?.failed(new GitwharfError("access/denied", refusal));
    return;
  }
  await findAliasedUpdates(state);
  const budget = new WorkBudget({ signal: context.signal });
  for (const result of standing(state)) {
    if (budget.spend(1)) await budget.pause();
    if (result.refusal !== undefined || isForProcReceive(state, result) || result.follows !== undefined)
      continue;
    await judge(state, result);
  }
}

async function judge(state: PushState, result: CommandResult): Promise<void> {
  const { context, results } = state;
  result.refusal = await ask(state, {
    name: "policy",
    handlers: OURS,
    ask: ({ push }) => checkPushPolicy(context, push, result.command),
    whenItThrows: "policy check failed",
  });
  for (const handlers of context.handlers) {
    if (result.refusal !== undefined) return;
    if (handlers.update === undefined) continue;
    result.refusal = await ask(state, {
      name: "update",
      handlers,
      ask: ({ push, refOf }) => handlers.update?.(push, refOf(result.command)),
      whenItThrows: "hook declined",
    });
    state.rejections.apply(results);
  }
}

/** What the server does itself takes as long as it takes. */
const OURS: PushHandlers = { timeoutMs: Number.POSITIVE_INFINITY };

function isForProcReceive({ context }: PushState, { command }: CommandResult): boolean {
  return procReceiveOwner(context, command) !== undefined;
}

/**
 * proc-receive for those that are its, once the objects are published: it may move refs to them itself. What it lets
 * fall through is judged as any other.
 */
export async function runProcReceive(state: PushState): Promise<void> {
  const groups = new Map<PushHandlers | undefined, CommandResult[]>();
  for (const result of standing(state)) {
    const owner = result.follows === undefined ? procReceiveOwner(state.context, result.command) : undefined;
    if (owner === undefined) continue;
    const group = groups.get(owner.handlers) ?? [];
    groups.set(owner.handlers, group);
    group.push(result);
  }
  for (const [handlers, mine] of groups) await askProcReceive(state, handlers, mine);
}

async function askProcReceive(
  state: PushState,
  handlers: PushHandlers | undefined,
  all: readonly CommandResult[],
): Promise<void> {
  // With `atomic`, another handler may have refused meanwhile.
  const alive = new Set(standing(state));
  const mine = all.filter((result) => alive.has(result));
  if (mine.length === 0) return;
  let answers: readonly ProcReceiveResult[] = [];
  const notRun = "fail to run proc-receive hook";
  const deliver = async ({ push, refOf }: PushView): Promise<Verdict> => {
    if (handlers?.procReceive === undefined) return notRun;
    const given: unknown = await handlers.procReceive(
      push,
      mine.map(({ command }) => refOf(command)),
    );
    if (!isListOfResults(given)) throw new TypeError("procReceive has to answer with a list of results");
    answers = given;
    return undefined;
  };
  const failed = await ask(state, {
    name: "procReceive",
    handlers: handlers ?? OURS,
    ask: (view) => inStep(state.context.activity, "proc-receive", () => deliver(view)),
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
    else if (refused !== undefined) result.refusal = refused.refusal;
    else if (own.length > 0) result.substitutes = own;
    state.rejections.apply([result]);
    if (own.length === 0) result.refusal ??= "proc-receive failed to report status";
    if (result.refusal === undefined && !isSubstituted(result)) await judge(state, result);
  }
}

/** Handlers may be JavaScript. */
function isListOfResults(given: unknown): given is readonly ProcReceiveResult[] {
  const isResult = (one: unknown): boolean =>
    typeof one === "object" && one !== null && "name" in one && typeof one.name === "string";
  return Array.isArray(given) && given.every(isResult);
}

/** The work trees that show a pushed branch, after everything that may refuse but the refs themselves. */
export async function updateWorkTrees(state: PushState): Promise<void> {
  const { context, atomic } = state;
  if (context.settings.receive.denyCurrentBranch !== "updateInstead") return;
  for (const result of standing(state)) {
    if (isSubstituted(result)) continue;
    result.refusal = await ask(state, {
      name: "pushToCheckout",
      handlers: OURS,
      ask: () => updateWorkTree(state, result.command),
      whenItThrows: "push-to-checkout hook declined",
    });
    if (atomic && result.refusal !== undefined) return;
  }
}

/** @returns undefined when no work tree shows the branch, too */
async function updateWorkTree(state: PushState, command: PushCommand): Promise<Verdict> {
  const { context } = state;
  const used = (await context.repository.checkedOutBranches()).get(command.name);
  if (used === undefined || used.bare) return undefined;
  return inStep(context.activity, "push-to-checkout", async () => {
    for (const handlers of context.handlers) {
      if (handlers.pushToCheckout === undefined) continue;
      const answer = await ask(state, {
        name: "pushToCheckout",
        handlers,
        ask: ({ push, refOf }) =>
          handlers.pushToCheckout?.(push, refOf(command), used.path, used.gitDirectory),
        whenItThrows: "push-to-checkout hook declined",
      });
      if (answer !== "absent") return answer;
    }
    return "receive.denyCurrentBranch=updateInstead is not supported without a push-to-checkout hook";
  });
}

/** After the report. What goes wrong here cannot be undone: the pusher is told, and that is all. */
export async function runPostReceive(state: PushState): Promise<void> {
  const { context } = state;
  state.rejections.close();
  // They work to their end: the pusher may leave now.
  const signal = context.closing ?? context.signal;
  const done = state.results
    .filter((result) => result.refusal === undefined && result.changedNothing !== true)
    .flatMap(changesOf);
  if (done.length === 0) return;
  const view = state.viewFor(signal);
  for (const handlers of context.handlers) {
    if (handlers.postReceive === undefined) continue;
    const failed = await ask(state, {
      name: "postReceive",
      handlers,
      signal,
      ask: async ({ push, refOf }) => {
        const refs: ChangedRef[] = [];
        const budget = new WorkBudget();
        for (const moved of done) {
          if (budget.spend(1)) await budget.pause();
          refs.push(refOf(moved));
        }
        await handlers.postReceive?.(push, refs);
        return undefined;
      },
      whenItThrows: "the post-receive handler failed",
    });
    if (failed !== undefined) await view.push.print(`warning: ${failed}\n`);
  }
}

/** What a command came to: where proc-receive moved other refs, those. */
function changesOf({ command, substitutes }: CommandResult): readonly MovedRef[] {
  if (substitutes.length === 0) return [command];
  return substitutes.map(({ refName, oldOid, newOid }) => ({
    name: refName ?? command.name,
    oldOid: oldOid ?? command.oldOid,
    newOid: newOid ?? command.newOid,
    ...(refName === undefined || refName === command.name ? {} : { pushedAs: command.name }),
  }));
}

type MovedRef = PushCommand & Pick<ChangedRef, "pushedAs">;

/** A handler that throws refuses. */
async function ask(
  state: PushState,
  question: HandlerQuestion<Verdict | void> & { readonly whenItThrows: string },
): Promise<Verdict> {
  const answer = await askHandler(state, question);
  if (answer.ok && answer.value === undefined) return undefined;
  if (answer.ok && typeof answer.value === "string") return answer.value;
  if (answer.ok) return question.whenItThrows;
  return answer.why ?? withRequestId(question.whenItThrows, state.context.activity?.requestId);
}
