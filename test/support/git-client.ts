/**
 * The real git client in a directory of its own: no configuration of the person or the machine, fixed names and
 * dates, no prompt. Asynchronous, so that a server in the same process can answer.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type GitResult, runGit } from "./git-runner.js";

export type { GitResult };

export interface GitClient {
  readonly directory: string;
  /** Runs git and throws, with what it printed, when it fails. @returns standard output, trimmed */
  run(...args: readonly string[]): Promise<string>;
  /** Runs git and tells how it ended. */
  try(...args: readonly string[]): Promise<GitResult>;
  tryWith(
    options: { readonly input?: string | Buffer; readonly env?: NodeJS.ProcessEnv },
    ...args: readonly string[]
  ): Promise<GitResult>;
  /** The same client in a subdirectory. */
  in(subdirectory: string): GitClient;
}

const ENVIRONMENT: NodeJS.ProcessEnv = {
  PATH: process.env["PATH"],
  HOME: "/nonexistent",
  LANG: "C",
  GIT_CONFIG_NOSYSTEM: "1",
  GIT_CONFIG_GLOBAL: "/dev/null",
  GIT_TERMINAL_PROMPT: "0",
  GIT_AUTHOR_NAME: "Ada",
  GIT_AUTHOR_EMAIL: "ada@example.org",
  GIT_COMMITTER_NAME: "Ada",
  GIT_COMMITTER_EMAIL: "ada@example.org",
  GIT_AUTHOR_DATE: "1700000000 +0100",
  GIT_COMMITTER_DATE: "1700000000 +0100",
  GIT_CONFIG_COUNT: "5",
  GIT_CONFIG_KEY_0: "init.defaultBranch",
  GIT_CONFIG_VALUE_0: "main",
  GIT_CONFIG_KEY_1: "advice.detachedHead",
  GIT_CONFIG_VALUE_1: "false",
  GIT_CONFIG_KEY_2: "gc.auto",
  GIT_CONFIG_VALUE_2: "0",
  // One process less for each commit and each fetch: there is nothing to be done.
  GIT_CONFIG_KEY_3: "maintenance.auto",
  GIT_CONFIG_VALUE_3: "false",
  GIT_CONFIG_KEY_4: "core.fsync",
  GIT_CONFIG_VALUE_4: "none",
};

export function createGitClient(directory: string): GitClient {
  const tryWith: GitClient["tryWith"] = ({ input, env }, ...args) =>
    runGit({ args, cwd: directory, env: { ...ENVIRONMENT, ...env }, input });
  return {
    directory,
    tryWith,
    try: (...args) => tryWith({}, ...args),
    async run(...args) {
      const result = await tryWith({}, ...args);
      if (result.status !== 0) {
        throw new Error(
          `git ${args.join(" ")} ended with ${result.status}:\n${result.stderr}${result.stdout}`,
        );
      }
      return result.stdout.trim();
    },
    in: (subdirectory) => createGitClient(join(directory, subdirectory)),
  };
}

/** A temporary directory with a client in it. Remove it with `removeDirectory`. */
export function createWorkspace(): GitClient {
  return createGitClient(mkdtempSync(join(tmpdir(), "gitwharf-test-")));
}

export function removeDirectory(client: GitClient): void {
  rmSync(client.directory, { recursive: true, force: true, maxRetries: 3 });
}
