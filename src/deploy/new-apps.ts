/**
 * Apps that come into being with the first push of their branch, so that nobody has to announce them: before the handlers
 * that build. Not here: who may push; that was asked before.
 */
import { isGitwharfError } from "../base/errors.js";
import type { Push, PushedRef, PushHandlers } from "../engine/push.js";
import { isAppName } from "./state/app-rules.js";
import type { DeployState } from "./state/deploy-state.js";

/** "declared": of what says by a file how it is built or run. "always": of every repository. */
export type NewApps = "never" | "declared" | "always";

/** Whoever pushes one of these means it to be deployed. */
export const DECLARING_FILES = ["gitwharf.yml", "Procfile"];

export interface NewAppsOptions {
  readonly state: DeployState;
  readonly newApps: NewApps;
  readonly branch: string;
}

export function createNewAppHandlers({ state, newApps, branch }: NewAppsOptions): PushHandlers {
  return {
    async update(push, update) {
      if (newApps === "never" || update.kind !== "branch" || update.deleted || update.shortName !== branch)
        return undefined;
      const repository = push.repository.name;
      if ((await state.apps.findByRepository(repository)) !== undefined) return undefined;
      if (newApps === "declared" && !(await isDeclared(update))) return undefined;
      await makeApp(state, push, repository, branch);
      return undefined;
    },
  };
}

/** `team/shop` is called by one label of a host name: `team-shop`. undefined: it cannot be. */
export function appNameOf(repository: string): string | undefined {
  const name = repository.toLowerCase().replaceAll(/[/._]/g, "-");
  return isAppName(name) ? name : undefined;
}

async function makeApp(state: DeployState, push: Push, repository: string, branch: string): Promise<void> {
  const name = appNameOf(repository);
  const tell = async (why: string): Promise<void> =>
    push.print(` !     Not deployed: ${why}; \`gitwharf apps create NAME --repository ${repository}\`\n`, {
      prefix: false,
    });
  if (name === undefined) return tell(`no app can be called ${repository}`);
  try {
    await state.createApp({ name, repository, branch, createdBy: push.identity.user ?? "" });
    await push.print(`-----> Creating app ${name}\n`, { prefix: false });
  } catch (error) {
    if (!isGitwharfError(error, "storage/exists")) throw error;
    // Another push of the same repository may have been faster.
    if ((await state.apps.findByRepository(repository)) === undefined)
      await tell(`there is another app called ${name}`);
  }
}

async function isDeclared(update: PushedRef): Promise<boolean> {
  for (const path of DECLARING_FILES) if ((await update.file(path)) !== undefined) return true;
  return false;
}
