/**
 * A stand-in for a forge whose repositories are real: a gitwharf in memory serves them, anybody may read them, an account may
 * push to what it owns by its token, and a fork of the forge is a repository with all refs of its upstream.
 */
import { createTestServer, type TestServer } from "../../../src/testing/test-server.js";
import { createWorkspace, type GitClient, removeDirectory } from "../git-client.js";
import type { StandInRepository } from "./forge-state.js";
import type { StandInForge, StandInOptions } from "./stand-in-forge.js";

export interface ForgeWithGit {
  readonly forge: StandInForge;
  readonly git: TestServer;
  /**
   * A repository of the forge, with the commits that `fill` makes in a working tree of its own.
   * @default one commit with a README on `main`
   */
  addRepository(
    about: Pick<StandInRepository, "owner" | "name"> & Partial<StandInRepository>,
    fill?: (client: GitClient) => Promise<void>,
  ): Promise<StandInRepository>;
  close(): Promise<void>;
}

const SETUP = "set-up";

export async function startForgeWithGit(
  start: (options: StandInOptions) => Promise<StandInForge>,
  options: StandInOptions = {},
): Promise<ForgeWithGit> {
  const accounts = options.accounts ?? { "token-of-bot": "bot" };
  const git = await createTestServer({
    // GitHub, GitLab and Gitea look at the password alone.
    authenticate: (credentials) => {
      const password = credentials.kind === "basic" ? credentials.password : "";
      const account = password === SETUP ? SETUP : accounts[password];
      return account === undefined ? undefined : { user: account };
    },
    authorize({ identity, operation, repository }) {
      const { user } = identity;
      if (operation === "fetch" || user === SETUP || repository.startsWith(`${user}/`))
        return { allowed: true };
      return {
        allowed: false,
        reason: "it is not yours",
        answer: user === undefined ? "challenge" : "forbid",
      };
    },
  });
  const workspace = createWorkspace();
  const urlOf = ({ owner, name }: StandInRepository): string =>
    git.urlOf(`${owner}/${name}`).replace("http://", `http://${SETUP}:${SETUP}@`);
  let clones = 0;
  const forge = await start({
    ...options,
    gitUrl: git.url,
    async onFork(upstream, fork) {
      const copy = `copy-${clones++}`;
      await workspace.run("clone", "-q", "--mirror", urlOf(upstream), copy);
      await workspace.in(copy).run("push", "-q", "--mirror", urlOf(fork));
      await options.onFork?.(upstream, fork);
    },
  });

  return {
    forge,
    git,
    async addRepository(about, fill = commitReadme) {
      const repository = forge.state.add(about);
      const directory = `upstream-${clones++}`;
      await workspace.run("init", "-q", "-b", repository.defaultBranch, directory);
      const client = workspace.in(directory);
      if (!repository.isEmpty) {
        await fill(client);
        await client.run("push", "-q", urlOf(repository), "--all");
        await client.run("push", "-q", urlOf(repository), "--tags");
      }
      return repository;
    },
    async close() {
      await Promise.all([forge.close(), git.close()]);
      removeDirectory(workspace);
    },
  };
}

async function commitReadme(client: GitClient): Promise<void> {
  await client.run("commit", "-q", "--allow-empty", "-m", "begin");
}
