/**
 * The hooks that stand inside a repository (`hooks/` in its git directory), for operators who say
 * `--repository-hooks`: whoever can write there runs programs as the server. `core.hooksPath` of a repository is not
 * honoured. Specification: githooks.
 */
import { join } from "node:path";
import type { Push, PushCommand, PushHandlers, Verdict } from "../engine/push.js";
import { hookEnvironment } from "./hook-environment.js";
import { formatProcReceiveInput, parseProcReceiveOutput } from "./proc-receive-protocol.js";
import { findHook, type HookEnd, runHook } from "./run-hook.js";

export interface RepositoryHooksOptions {
  /** The server's environment; PATH, HOME, LANG, LC_ALL, TZ and TMPDIR are passed on. */
  readonly environment: NodeJS.ProcessEnv;
  /** @default 600,000 */
  readonly timeoutMs?: number;
  /** Printed bytes of one hook. @default 16 MiB */
  readonly outputBytesMax?: number;
}

interface Call {
  readonly name: string;
  readonly args?: readonly string[];
  readonly input?: string | Buffer;
  readonly captureOutput?: boolean;
  readonly environment?: Readonly<Record<string, string>>;
}

export function createRepositoryHooks(options: RepositoryHooksOptions): PushHandlers {
  /** undefined: there is no such hook. */
  const call = async (push: Push, about: Call): Promise<HookEnd | undefined> => {
    const { gitDirectory } = push.repository;
    if (gitDirectory === undefined) return undefined;
    const path = join(gitDirectory, "hooks", about.name);
    const found = await findHook(path);
    if (found === "ignored")
      await push.print(`hint: the '${about.name}' hook was ignored because it is not executable\n`);
    if (found !== "run") return undefined;
    const end = await runHook({
      path,
      args: about.args ?? [],
      directory: gitDirectory,
      environment: { ...hookEnvironment(push, gitDirectory, options.environment), ...about.environment },
      input: about.input ?? "",
      print: (text) => push.print(text),
      captureOutput: about.captureOutput ?? false,
      timeoutMs: options.timeoutMs ?? 600_000,
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
      const end = await call(push, {
        name: "proc-receive",
        input: formatProcReceiveInput(commands, push.options),
        captureOutput: true,
      });
      const failure = (refusal: string) => commands.map(({ name }) => ({ name, refusal }));
      if (end === undefined || end.status !== 0) return failure("fail to run proc-receive hook");
      return (
        parseProcReceiveOutput(end.output, push.repository.objectFormat) ?? failure("bad proc-receive answer")
      );
    },
    async referenceTransaction(push, state, commands) {
      const end = await call(push, {
        name: "reference-transaction",
        args: [state],
        input: commandLines(commands),
      });
      return state !== "prepared" || end === undefined || end.status === 0;
    },
    async pushToCheckout(push, command, workTree) {
      const end = await call(push, {
        name: "push-to-checkout",
        args: [command.newOid],
        environment: { GIT_WORK_TREE: workTree },
      });
      return end === undefined ? "absent" : refused(end, "push-to-checkout hook declined");
    },
    async postReceive(push, commands) {
      await call(push, { name: "post-receive", input: commandLines(commands) });
      await call(push, { name: "post-update", args: commands.map(({ name }) => name) });
    },
  };
}

function commandLines(commands: readonly PushCommand[]): string {
  return commands.map(({ oldOid, newOid, name }) => `${oldOid} ${newOid} ${name}\n`).join("");
}
