/**
 * The hooks that stand inside a repository (`hooks/` in its git directory), for operators who say
 * `--repository-hooks`: whoever can write there runs programs as the server. `core.hooksPath` of a repository is not
 * honoured. Specification: githooks.
 */
import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { ProcReceiveResult, Push, PushCommand, PushHandlers, Verdict } from "../engine/push.js";
import { hookEnvironment } from "./hook-environment.js";
import { type ProcReceiveAnswer, talkToProcReceive } from "./proc-receive-protocol.js";
import { findHook, type HookEnd, type HookRun, runHook } from "./run-hook.js";

export interface RepositoryHooksOptions {
  /** The server's environment; PATH, HOME, LANG, LC_ALL, TZ and TMPDIR are passed on. */
  readonly environment: NodeJS.ProcessEnv;
  /** @default 600,000 */
  readonly timeoutMs?: number;
  /** Between asking a hook to end and ending it. @default 10,000 */
  readonly killAfterMs?: number;
  /** Printed bytes of one hook. @default 16 MiB */
  readonly outputBytesMax?: number;
}

interface Call {
  readonly name: string;
  readonly args?: readonly string[];
  readonly input?: HookRun["input"];
  readonly environment?: Readonly<Record<string, string>>;
}

export function createRepositoryHooks(options: RepositoryHooksOptions): PushHandlers {
  const told = new WeakMap<Push, Set<string>>();
  /** update is called for every ref; one hint is enough. */
  const isFirst = (push: Push, name: string): boolean => {
    const names = told.get(push) ?? new Set();
    told.set(push, names);
    return !names.has(name) && names.add(name).has(name);
  };
  /** undefined: there is no such hook. */
  const call = async (push: Push, about: Call): Promise<HookEnd | undefined> => {
    const { gitDirectory } = push.repository;
    if (gitDirectory === undefined) return undefined;
    const common = await findCommonDirectory(gitDirectory);
    const path = join(common, "hooks", about.name);
    const found = await findHook(path);
    if (found === "ignored" && isFirst(push, about.name))
      await push.print(`hint: the '${about.name}' hook was ignored because it is not executable\n`);
    if (found !== "run") return undefined;
    const end = await runHook({
      path,
      args: about.args ?? [],
      directory: gitDirectory,
      environment: {
        ...hookEnvironment(push, { gitDirectory, common }, options.environment),
        ...about.environment,
      },
      input: about.input ?? "",
      print: (text) => push.print(text),
      timeoutMs: options.timeoutMs ?? 600_000,
      killAfterMs: options.killAfterMs ?? 10_000,
      outputBytesMax: options.outputBytesMax ?? 16 * 1024 * 1024,
      signal: push.signal,
    });
    if (end.ended !== undefined)
      await push.print(`error: the '${about.name}' hook was ended: ${end.ended}\n`);
    return end;
  };
  const refused = (end: HookEnd | undefined, reason: string): Verdict =>
    end === undefined || end.status === 0 ? undefined : reason;

  return {
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

/** A linked work tree has its own git directory, and shares hooks and objects. Specification: gitrepository-layout. */
async function findCommonDirectory(gitDirectory: string): Promise<string> {
  try {
    return resolve(gitDirectory, (await readFile(join(gitDirectory, "commondir"), "utf8")).trimEnd());
  } catch {
    return gitDirectory;
  }
}

const PROC_RECEIVE_FAILED = "fail to run proc-receive hook";

function refuse(commands: readonly PushCommand[], refusal: string): readonly ProcReceiveResult[] {
  return commands.map(({ name }) => ({ name, refusal }));
}

function commandLines(commands: readonly PushCommand[]): string {
  return commands.map(({ oldOid, newOid, name }) => `${oldOid} ${newOid} ${name}\n`).join("");
}
