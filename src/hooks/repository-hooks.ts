/**
 * The hooks that stand inside a repository (`hooks/` in its git directory), for operators who say
 * `--repository-hooks`: whoever can write there runs programs as the server. `core.hooksPath` of a repository is not
 * honoured. Specification: githooks.
 */
import type { PushHandlers } from "../engine/push.js";
import { createHookCaller, type HookCallerOptions, ownHook } from "./hook-caller.js";
import { createProgramHandlers } from "./program-handlers.js";

export function createRepositoryHooks(options: HookCallerOptions): PushHandlers {
  const callHook = createHookCaller(options);
  return createProgramHandlers((push, about) =>
    callHook(push, { ...about, paths: ownHook(about.name), tellsIgnored: true }),
  );
}
