/**
 * The same push to the same repository twice: behind our server and behind git's own `git http-backend`. What the
 * client prints for machines (`--porcelain`) and how it ends are to be the same.
 */
import { cpSync, mkdtempSync } from "node:fs";
import { join } from "node:path";
import { inject } from "vitest";
import type { GitServerOptions } from "../../src/server/git-server-options.js";
import { createTestServer, type TestServer } from "../../src/testing/test-server.js";
import type { ServiceLogEntry } from "../../src/transport/service-host.js";
import {
  createGitClient,
  createWorkspace,
  type GitClient,
  type GitResult,
  removeDirectory,
} from "./git-client.js";
import { type GitHttpBackend, startGitHttpBackend } from "./git-http-backend.js";

export interface Side {
  readonly url: string;
  /** A client in the repository that is pushed to. */
  readonly repository: GitClient;
}

export interface PushBesideGit {
  readonly workspace: GitClient;
  /** Who pushes: `one` and its child `two` on main, `other` beside `two`, and a tag `light`. */
  readonly app: GitClient;
  readonly ours: Side;
  readonly theirs: Side;
  /** What our server told its operator. */
  readonly logged: readonly ServiceLogEntry[];
  /** Runs git in both repositories. */
  both(...args: readonly string[]): Promise<void>;
  configure(settings: Record<string, string>): Promise<void>;
  /** Pushes to both. @returns ours, once it has been held against git's */
  push(...args: readonly string[]): Promise<GitResult>;
  /** Name and id of each ref of both, which must be the same. */
  refs(): Promise<Record<string, string>>;
  close(): Promise<void>;
}

export interface PushBesideGitOptions {
  /** false: a work tree with main checked out. @default true */
  readonly bare?: boolean;
  /** Of our server. */
  readonly server?: Partial<GitServerOptions>;
}

/** The repositories as each test finds them, made once in a process. */
const patterns = new Map<boolean, Promise<GitClient>>();

function pattern(bare: boolean): Promise<GitClient> {
  const made = patterns.get(bare) ?? makePattern(bare);
  patterns.set(bare, made);
  return made;
}

async function makePattern(bare: boolean): Promise<GitClient> {
  const workspace = createGitClient(mkdtempSync(join(inject("runDirectory"), "push-")));
  await workspace.run("init", "-q", "app");
  const app = workspace.in("app");
  await app.run("commit", "-q", "--allow-empty", "-m", "one");
  await app.run("branch", "one");
  await app.run("tag", "light");
  await app.run("commit", "-q", "--allow-empty", "-m", "other");
  await app.run("branch", "other");
  await app.run("reset", "-q", "--hard", "one");
  await app.run("commit", "-q", "--allow-empty", "-m", "two");
  await app.run("branch", "two");
  for (const side of ["ours", "theirs"]) {
    const target = `${side}/app${bare ? ".git" : ""}`;
    const from = ["--single-branch", "--branch=one", `file://${app.directory}`];
    await workspace.run("clone", "-q", ...(bare ? ["--bare"] : []), ...from, target);
    const repository = workspace.in(target);
    await repository.run("branch", "-q", "-m", "one", "main");
    await repository.try("remote", "remove", "origin");
    await repository.run("update-ref", "refs/heads/side", "main");
    await repository.run("config", "http.receivepack", "true");
  }
  return workspace;
}

export async function startPushBesideGit(options: PushBesideGitOptions = {}): Promise<PushBesideGit> {
  const bare = options.bare ?? true;
  const logged: ServiceLogEntry[] = [];
  const workspace = createWorkspace();
  cpSync((await pattern(bare)).directory, workspace.directory, { recursive: true });
  const app = workspace.in("app");
  const server: TestServer = await createTestServer({
    repositories: workspace.in("ours").directory,
    durability: "none",
    autoCreate: "never",
    log: (entry) => logged.push(entry),
    ...options.server,
  });
  const judge: GitHttpBackend = await startGitHttpBackend(workspace.in("theirs").directory);
  const sideOf = (side: string, url: string): Side => ({
    url,
    repository: createGitClient(workspace.in(`${side}/app${bare ? ".git" : ""}`).directory),
  });
  const ours = sideOf("ours", server.urlOf("app"));
  const theirs = sideOf("theirs", judge.urlOf(bare ? "app.git" : "app/.git"));
  const both: PushBesideGit["both"] = async (...args) => {
    for (const { repository } of [ours, theirs]) await repository.run(...args);
  };
  const pushTo = async (side: Side, args: readonly string[]): Promise<GitResult> => {
    const flags = args.filter((argument) => argument.startsWith("-"));
    const refspecs = args.filter((argument) => !argument.startsWith("-"));
    const result = await app.try("push", "--porcelain", ...flags, side.url, ...refspecs);
    return {
      status: result.status,
      stdout: result.stdout.replaceAll(side.url, "URL"),
      stderr: result.stderr.replaceAll(side.url, "URL"),
    };
  };
  const refsOf = ({ repository }: Side): Promise<string> =>
    repository.run("for-each-ref", "--format=%(refname) %(objectname)");
  return {
    workspace,
    app,
    ours,
    theirs,
    logged,
    both,
    async configure(settings) {
      for (const [key, value] of Object.entries(settings)) await both("config", "--add", key, value);
    },
    async push(...args) {
      const mine = await pushTo(ours, args);
      const gits = await pushTo(theirs, args);
      const brief = ({ status, stdout }: GitResult) => ({ status, stdout });
      if (JSON.stringify(brief(mine)) !== JSON.stringify(brief(gits))) {
        throw new Error(
          `git push ${args.join(" ")}:\nours ${mine.status}\n${mine.stdout}${mine.stderr}\n` +
            `git's ${gits.status}\n${gits.stdout}${gits.stderr}`,
        );
      }
      return mine;
    },
    async refs() {
      const [mine, gits] = [await refsOf(ours), await refsOf(theirs)];
      if (mine !== gits) throw new Error(`refs differ:\nours\n${mine}\ngit's\n${gits}`);
      return Object.fromEntries(mine.split("\n").map((line) => line.split(" ") as [string, string]));
    },
    async close() {
      await server.close();
      await judge.close();
      removeDirectory(workspace);
    },
  };
}
