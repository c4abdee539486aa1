/**
 * The handlers of a push that run programs as git does: which arguments, which lines on standard input, and what a status
 * means. Which program stands for a hook is for the caller to say. Specification: githooks.
 */
import type { ProcReceiveResult, Push, PushCommand, PushHandlers } from "../engine/push.js";
import { commandLines, verdictOf as refused } from "./hook-caller.js";
import { type ProcReceiveAnswer, talkToProcReceive } from "./proc-receive-protocol.js";
import type { HookEnd, HookRun } from "./run-hook.js";

export interface ProgramCall {
  readonly name: string;
  readonly args?: readonly string[];
  readonly input?: HookRun["input"];
  readonly environment?: Readonly<Record<string, string>>;
}

/** undefined: there is no such hook. */
export type CallProgram = (push: Push, about: ProgramCall) => Promise<HookEnd | undefined>;

/** All of them; a hook that is not there accepts. */
export function createProgramHandlers(
  call: CallProgram,
): Required<Omit<PushHandlers, "procReceiveRefs" | "preUpload">> {
  return {
    // Each run has its own.
    timeoutMs: Number.POSITIVE_INFINITY,
    preReceive: async (push) =>
      refused(
        await call(push, { name: "pre-receive", input: commandLines(push.commands) }),
        "pre-receive hook declined",
      ),
    update: async (push, { name, oldOid, newOid }) =>
      refused(await call(push, { name: "update", args: [name, oldOid, newOid] }), "hook declined"),
    async procReceive(push, commands) {
      const atomic = push.capabilities.has("atomic");
      let answer: ProcReceiveAnswer = { results: undefined, complaints: [] };
      const end = await call(push, {
        name: "proc-receive",
        input: async (pipes) => {
          answer = await talkToProcReceive(pipes, {
            commands,
            pushed: push.commands.map(({ name }) => name),
            options: push.options,
            atomic,
            takesOptions: push.capabilities.has("push-options"),
            objectFormat: push.repository.objectFormat,
          });
        },
      });
      const { results, complaints } = answer;
      if (end === undefined) await push.print("error: cannot find hook 'proc-receive'\n");
      else if (complaints.length > 0) await push.print(`error: ${complaints.join("\n")}\n`);
      if (results === undefined) return refuse(atomic ? push.commands : commands, PROC_RECEIVE_FAILED);
      const refusals = results.filter(({ refusal }) => refusal !== undefined);
      const answered = new Set(results.map(({ name }) => name));
      const silent = commands.filter(({ name }) => !answered.has(name));
      const wholly =
        end?.status === 0 && complaints.length === 0 && refusals.length === 0 && silent.length === 0;
      if (wholly || !atomic) return results;
      // What the hook says it has done is done. Nothing else is.
      const done = results.filter(({ fallThrough }) => fallThrough !== true);
      const settled = new Set([...done, ...silent].map(({ name }) => name));
      const others = push.commands.filter(({ name }) => !settled.has(name));
      return [...done, ...refuse(others, PROC_RECEIVE_FAILED)];
    },
    async referenceTransaction(push, state, commands) {
      const end = await call(push, {
        name: "reference-transaction",
        args: [state],
        input: commandLines(commands),
      });
      return state !== "prepared" || end === undefined || end.status === 0;
    },
    async pushToCheckout(push, command, workTree, gitDirectory) {
      const end = await call(push, {
        name: "push-to-checkout",
        args: [command.newOid],
        environment: {
          GIT_WORK_TREE: workTree,
          ...(gitDirectory === undefined ? {} : { GIT_DIR: gitDirectory }),
        },
      });
      return end === undefined ? "absent" : refused(end, "push-to-checkout hook declined");
    },
    async postReceive(push, commands) {
      await call(push, { name: "post-receive", input: commandLines(commands) });
      // git names the refs of the push here, whatever proc-receive moved for them.
      const names = new Set(commands.map(({ name, pushedAs }) => pushedAs ?? name));
      await call(push, { name: "post-update", args: [...names] });
    },
  };
}

const PROC_RECEIVE_FAILED = "fail to run proc-receive hook";

function refuse(commands: readonly PushCommand[], refusal: string): readonly ProcReceiveResult[] {
  return commands.map(({ name }) => ({ name, refusal }));
}
