/**
 * Hooks that the configuration names: for all repositories, for those of a namespace, for one; several of a kind, one
 * after the other. They run whatever the transport, and also where a repository is no directory. Specification: githooks;
 * docs/hooks.md.
 */
import { tmpdir } from "node:os";
import { GitwharfError } from "../base/errors.js";
import { compileWildmatch } from "../engine/fetch/wildmatch.js";
import type { Push, PushHandlers } from "../engine/push.js";
import { gitoriousEnvironment } from "./custom-hooks.js";
import { findCommonDirectory } from "./hook-caller.js";
import { hookEnvironment } from "./hook-environment.js";
import { createProgramHandlers, type ProgramCall } from "./program-handlers.js";
import { type HookEnd, runHook } from "./run-hook.js";
import { checkScript, type CheckedScript, createScriptDirectory, type Script } from "./script.js";
import { sweepTemporaryDirectories } from "./temporary-directory.js";

export interface ScriptHooks {
  /** Patterns of repository names: `team/app`, `team/**`. @default every repository */
  readonly repositories?: readonly string[];
  readonly preReceive?: Scripts;
  readonly update?: Scripts;
  readonly procReceive?: Script;
  /** Which refs are procReceive's. @default what the repository's `receive.procReceiveRefs` says */
  readonly procReceiveRefs?: readonly string[];
  readonly referenceTransaction?: Scripts;
  readonly pushToCheckout?: Script;
  readonly postReceive?: Scripts;
  readonly postUpdate?: Scripts;
  /** Besides git's, ours and Gitorious's. */
  readonly environment?: Readonly<Record<string, string>>;
  /** false: what they print goes to the terminal without `remote: `, where that can be done. @default true */
  readonly prefix?: boolean;
  /** Of each run. @default 600,000 */
  readonly timeoutMs?: number;
  /** Between asking one to end and ending it with all that it started. @default 10,000 */
  readonly killAfterMs?: number;
  /** Printed bytes of each run. @default 16 MiB */
  readonly outputBytesMax?: number;
}

export type Scripts = Script | readonly Script[];

export interface ConfiguredHooks {
  handlersFor(repository: string): readonly PushHandlers[];
  /** Removes what was written. */
  close(): Promise<void>;
}

const HOOKS = {
  preReceive: ["pre-receive", "preReceive"],
  update: ["update", "update"],
  procReceive: ["proc-receive", "procReceive"],
  referenceTransaction: ["reference-transaction", "referenceTransaction"],
  pushToCheckout: ["push-to-checkout", "pushToCheckout"],
  postReceive: ["post-receive", "postReceive"],
  postUpdate: ["post-update", "postReceive"],
} as const;

const OTHER_KEYS = [
  "repositories",
  "procReceiveRefs",
  "environment",
  "prefix",
  "timeoutMs",
  "killAfterMs",
  "outputBytesMax",
];

/**
 * @param environment the server's, of which a few names are passed on
 * @throws server/bad-configuration
 */
export function createScriptHooks(
  given: ScriptHooks | readonly ScriptHooks[],
  environment: NodeJS.ProcessEnv,
): ConfiguredHooks {
  const directory = createScriptDirectory();
  const run = async (
    push: Push,
    about: ProgramCall,
    { script, entry }: { readonly script: CheckedScript; readonly entry: ScriptHooks },
  ): Promise<HookEnd> => {
    const program = await directory.programOf(script, about.name);
    const { gitDirectory } = push.repository;
    const at = gitDirectory ?? tmpdir();
    const common = gitDirectory === undefined ? at : await findCommonDirectory(gitDirectory);
    const variables = hookEnvironment(push, { gitDirectory: at, common }, environment);
    // There is nothing that git could read.
    if (gitDirectory === undefined) delete variables["GIT_DIR"];
    const end = await runHook({
      path: program.path,
      args: [...program.args, ...(about.args ?? [])],
      directory: at,
      environment: {
        ...variables,
        ...gitoriousEnvironment(push),
        ...entry.environment,
        ...about.environment,
      },
      input: about.input ?? "",
      print: (text) => push.print(text, { prefix: entry.prefix ?? true }),
      timeoutMs: entry.timeoutMs ?? 600_000,
      killAfterMs: entry.killAfterMs ?? 10_000,
      outputBytesMax: entry.outputBytesMax ?? 16 * 1024 * 1024,
      signal: push.signal,
    });
    if (end.ended !== undefined)
      await push.print(`error: the '${about.name}' hook was ended: ${end.ended}\n`);
    return end;
  };
  const entries = [given].flat().map((entry) => {
    checkEntry(entry);
    const handlers: PushHandlers[] = [];
    for (const [option, [name, handler]] of Object.entries(HOOKS)) {
      const scripts = entry[option as keyof typeof HOOKS];
      for (const one of scripts === undefined ? [] : [scripts].flat()) {
        const script = checkScript(one, `hooks.${option}`);
        const all = createProgramHandlers(async (push, about) =>
          about.name === name ? run(push, about, { script, entry }) : undefined,
        );
        const refs = name === "proc-receive" ? entry.procReceiveRefs : undefined;
        handlers.push({
          timeoutMs: all.timeoutMs,
          [handler]: all[handler],
          ...(refs === undefined ? {} : { procReceiveRefs: refs }),
        });
      }
    }
    return { handlers, matches: matcherOf(entry.repositories) };
  });
  void sweepTemporaryDirectories(tmpdir());
  return {
    handlersFor: (repository) =>
      entries.filter(({ matches }) => matches(repository)).flatMap(({ handlers }) => handlers),
    close: () => directory.close(),
  };
}

function matcherOf(patterns: readonly string[] | undefined): (repository: string) => boolean {
  if (patterns === undefined) return () => true;
  const bytes = (text: string): string => Buffer.from(text).toString("latin1");
  const compiled = patterns.map((pattern) => compileWildmatch(bytes(pattern), { path: true }));
  return (repository) => compiled.some(({ matches }) => matches(bytes(repository)));
}

function checkEntry(entry: unknown): asserts entry is ScriptHooks {
  const wrong = (why: string): GitwharfError => new GitwharfError("server/bad-configuration", why);
  if (typeof entry !== "object" || entry === null)
    throw wrong("hooks is an object with scripts, or a list of such objects");
  const known = [...Object.keys(HOOKS), ...OTHER_KEYS];
  const odd = Object.keys(entry).find((key) => !known.includes(key));
  if (odd !== undefined) throw wrong(`hooks has no '${odd}'; known are ${known.join(", ")}`);
  const values = entry as Record<string, unknown>;
  for (const key of ["repositories", "procReceiveRefs"]) {
    const value = values[key];
    if (value !== undefined && !(Array.isArray(value) && value.every((one) => typeof one === "string")))
      throw wrong(`hooks.${key} is a list of texts`);
  }
  for (const key of ["timeoutMs", "killAfterMs", "outputBytesMax"]) {
    const value = values[key];
    // Timers have 31 bits.
    if (value !== undefined && !(typeof value === "number" && value > 0 && value < 2 ** 31))
      throw wrong(`hooks.${key} is a number above 0 and below ${2 ** 31}`);
  }
}
