/**
 * Gitorious's custom hooks: besides the hooks of a repository, one of the site's or of the project's own. They are looked
 * for as `hooks/custom-NAME` in the repository, as `custom-NAME` in the server's hook directory, and at the path that the
 * application has configured; the first that is executable runs. Specification: docs/gitorious.md.
 */
import { isAbsolute, join } from "node:path";
import type { Push, PushHandlers } from "../engine/push.js";
import { commandLines, createHookCaller, type HookCallerOptions, verdictOf } from "./hook-caller.js";
import type { HookEnd, HookRun } from "./run-hook.js";

export interface CustomHooksOptions extends HookCallerOptions {
  readonly hooksDirectory: string | undefined;
}

type CustomHook = "pre-receive" | "update" | "post-receive";

export function createCustomHooks(options: CustomHooksOptions): PushHandlers {
  const callHook = createHookCaller(options);
  const { hooksDirectory } = options;
  const call = (
    push: Push,
    name: CustomHook,
    about: { readonly args?: readonly string[]; readonly input?: HookRun["input"] },
  ): Promise<HookEnd | undefined> =>
    callHook(push, {
      ...about,
      name: `custom-${name}`,
      // Gitorious puts examples there that are not executable.
      tellsIgnored: false,
      paths: ({ common }) => {
        const configured = push.facts?.[`custom_${name.replace("-", "_")}_path`];
        return [
          join(common, "hooks", `custom-${name}`),
          ...(hooksDirectory === undefined ? [] : [join(hooksDirectory, `custom-${name}`)]),
          ...(configured === undefined || !isAbsolute(configured) ? [] : [configured]),
        ];
      },
    });
  return {
    preReceive: async (push) =>
      verdictOf(
        await call(push, "pre-receive", { input: commandLines(push.commands) }),
        "pre-receive hook declined",
      ),
    update: async (push, { name, oldOid, newOid }) =>
      verdictOf(await call(push, "update", { args: [name, oldOid, newOid] }), "hook declined"),
    async postReceive(push, commands) {
      await call(push, "post-receive", { input: commandLines(commands) });
    },
  };
}

const FACT_VARIABLES = {
  repository_id: "GITORIOUS_REPOSITORY_ID",
  ssh_clone_url: "GITORIOUS_SSH_CLONE_URL",
  http_clone_url: "GITORIOUS_HTTP_CLONE_URL",
  git_clone_url: "GITORIOUS_GIT_CLONE_URL",
  custom_pre_receive_path: "GITORIOUS_CUSTOM_PRE_RECEIVE_PATH",
  custom_post_receive_path: "GITORIOUS_CUSTOM_POST_RECEIVE_PATH",
  custom_update_path: "GITORIOUS_CUSTOM_UPDATE_PATH",
} as const;

/** What Gitorious's hooks find in their environment. */
export function gitoriousEnvironment({ transport, identity, facts = {} }: Push): Record<string, string> {
  const { user = "" } = identity;
  const environment: Record<string, string> = { GITORIOUS_PROTO: transport, GITORIOUS_USER: user };
  if (transport === "http") environment["REMOTE_USER"] = user;
  for (const [key, variable] of Object.entries(FACT_VARIABLES)) {
    const value = facts[key];
    if (value !== undefined) environment[variable] = value;
  }
  return environment;
}
