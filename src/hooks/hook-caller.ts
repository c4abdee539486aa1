/**
 * Runs a hook of a push by its name, where it is found: with the environment of hooks, its time and its output bounded,
 * what it prints on its way to the pusher.
 */
import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { Push, PushCommand, Verdict } from "../engine/push.js";
import { hookEnvironment } from "./hook-environment.js";
import { findHook, type HookEnd, type HookRun, runHook } from "./run-hook.js";

export interface HookCallerOptions {
  /** The server's environment; PATH, HOME, LANG, LC_ALL, TZ and TMPDIR are passed on. */
  readonly environment: NodeJS.ProcessEnv;
  /** What hooks find in their environment besides. */
  readonly environmentOf?: (push: Push) => Readonly<Record<string, string>>;
  /** @default 600,000 */
  readonly timeoutMs?: number;
  /** Between asking a hook to end and ending it. @default 10,000 */
  readonly killAfterMs?: number;
  /** Printed bytes of one hook. @default 16 MiB */
  readonly outputBytesMax?: number;
}

export interface HookCall {
  /** For the pusher. */
  readonly name: string;
  /** The first executable file of these runs. */
  readonly paths: (directories: HookDirectories) => readonly string[];
  /** Tell the pusher of a file that is there and not executable. */
  readonly tellsIgnored: boolean;
  readonly args?: readonly string[];
  readonly input?: HookRun["input"];
  readonly environment?: Readonly<Record<string, string>>;
}

export interface HookDirectories {
  readonly gitDirectory: string;
  /** Where hooks and objects are; that of a linked work tree is another. */
  readonly common: string;
}

/** @returns undefined when there is no such hook */
export type CallHook = (push: Push, call: HookCall) => Promise<HookEnd | undefined>;

export function createHookCaller(options: HookCallerOptions): CallHook {
  const told = new WeakMap<Push, Set<string>>();
  /** update is called for every ref; one hint is enough. */
  const isFirst = (push: Push, name: string): boolean => {
    const names = told.get(push) ?? new Set();
    told.set(push, names);
    return !names.has(name) && names.add(name).has(name);
  };
  return async (push, about) => {
    const { gitDirectory } = push.repository;
    if (gitDirectory === undefined) return undefined;
    const common = await findCommonDirectory(gitDirectory);
    const { path, isIgnored } = await findFirst(about.paths({ gitDirectory, common }));
    if (path === undefined) {
      if (about.tellsIgnored && isIgnored && isFirst(push, about.name))
        await push.print(`hint: the '${about.name}' hook was ignored because it is not executable\n`);
      return undefined;
    }
    const end = await runHook({
      path,
      args: about.args ?? [],
      directory: gitDirectory,
      environment: {
        ...hookEnvironment(push, { gitDirectory, common }, options.environment),
        ...options.environmentOf?.(push),
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
}

async function findFirst(
  paths: readonly string[],
): Promise<{ readonly path: string | undefined; readonly isIgnored: boolean }> {
  let isIgnored = false;
  for (const path of paths) {
    const found = await findHook(path);
    if (found === "run") return { path, isIgnored };
    isIgnored ||= found === "ignored";
  }
  return { path: undefined, isIgnored };
}

/** What git looks for in the repository itself. */
export function ownHook(name: string): HookCall["paths"] {
  return ({ common }) => [join(common, "hooks", name)];
}

export function verdictOf(end: HookEnd | undefined, reason: string): Verdict {
  return end === undefined || end.status === 0 ? undefined : reason;
}

/** The lines that pre-receive and post-receive read. */
export function commandLines(commands: readonly PushCommand[]): string {
  return commands.map(({ oldOid, newOid, name }) => `${oldOid} ${newOid} ${name}\n`).join("");
}

/** A linked work tree has its own git directory, and shares hooks and objects. Specification: gitrepository-layout. */
export async function findCommonDirectory(gitDirectory: string): Promise<string> {
  try {
    return resolve(gitDirectory, (await readFile(join(gitDirectory, "commondir"), "utf8")).trimEnd());
  } catch {
    return gitDirectory;
  }
}
