/** Two commits to push, and bare repositories to push them to, with no hook but those that a test writes there. */
import { rmSync } from "node:fs";
import { createWorkspace, type GitClient, removeDirectory } from "./git-client.js";

export interface HookedRepositories {
  readonly workspace: GitClient;
  /** Where the commits are; its HEAD is the second. */
  readonly app: GitClient;
  readonly first: string;
  readonly second: string;
  /** @param directory below the workspace */
  create(directory: string): Promise<GitClient>;
  remove(): void;
}

/** @param settings of each repository that is made */
export async function createHookedRepositories(
  settings: Readonly<Record<string, string>>,
): Promise<HookedRepositories> {
  const workspace = createWorkspace();
  await workspace.run("init", "-q", "app");
  const app = workspace.in("app");
  await app.run("commit", "-q", "--allow-empty", "-m", "first");
  await app.run("commit", "-q", "--allow-empty", "-m", "second");
  const [second = "", first = ""] = (await app.run("rev-list", "HEAD")).split("\n");
  return {
    workspace,
    app,
    first,
    second,
    async create(directory) {
      await workspace.run("init", "-q", "--bare", directory);
      const made = workspace.in(directory);
      // The templates of git.
      rmSync(`${made.directory}/hooks`, { recursive: true, force: true });
      for (const [key, value] of Object.entries(settings)) await made.run("config", key, value);
      return made;
    },
    remove: () => removeDirectory(workspace),
  };
}
