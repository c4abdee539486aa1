/** A repository for tests that real git and a ref store share. */
import { execFile, execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, isAbsolute, join } from "node:path";
import type { ObjectFormat } from "../../../object/object-format.js";
import type { RefSnapshot } from "../../contracts/ref-store.js";

const GIT = process.env.GITWHARF_TEST_GIT ?? "git";
/** Reftables need git 2.45 or later, which may be another one than that of the other tests. */
export const GIT_WITH_REFTABLE = process.env.GITWHARF_GIT_WITH_REFTABLE ?? GIT;

export function gitEnvironment(git: string): NodeJS.ProcessEnv {
  return {
    // git runs parts of itself.
    PATH: [...(isAbsolute(git) ? [dirname(git)] : []), process.env.PATH].join(delimiter),
    HOME: "/nonexistent",
    GIT_CONFIG_NOSYSTEM: "1",
    GIT_AUTHOR_NAME: "A",
    GIT_AUTHOR_EMAIL: "a@example.com",
    GIT_AUTHOR_DATE: "1700000000 +0000",
    GIT_COMMITTER_NAME: "C",
    GIT_COMMITTER_EMAIL: "c@example.com",
    GIT_COMMITTER_DATE: "1700000000 +0000",
    LC_ALL: "C",
  };
}

/** The version of a git that knows reftables; undefined when there is none. */
export function gitWithReftable(): string | undefined {
  const directory = mkdtempSync(join(tmpdir(), "gitwharf-git-refs-"));
  const run = (...args: readonly string[]): string =>
    execFileSync(GIT_WITH_REFTABLE, args, {
      env: gitEnvironment(GIT_WITH_REFTABLE),
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
  try {
    run("init", "-q", "--bare", "--ref-format=reftable", directory);
    return run("version").replace(/^git version (\S+)\s*$/, "$1");
  } catch {
    return undefined;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

export interface GitRepository {
  readonly directory: string;
  /** Commits, for refs to name. */
  readonly commits: readonly string[];
  /** An annotated tag of `commits[0]`, and a tag of that tag. */
  readonly tags: readonly string[];
  /** @returns standard output without the last newline. Throws when git fails. */
  git(...args: readonly string[]): string;
  gitAsync(...args: readonly string[]): Promise<string>;
  /** What git says the refs are, as `describe` says it of a snapshot. */
  refs(): string[];
  remove(): void;
}

export function createGitRepository(
  options: {
    readonly objectFormat?: ObjectFormat;
    readonly refFormat?: string;
    readonly bare?: boolean;
  } = {},
): GitRepository {
  const directory = mkdtempSync(join(tmpdir(), "gitwharf-git-refs-"));
  const program = options.refFormat === "reftable" ? GIT_WITH_REFTABLE : GIT;
  const env = gitEnvironment(program);
  const git = (...args: readonly string[]): string =>
    execFileSync(program, args, {
      cwd: directory,
      env,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
    }).replace(/\n$/, "");
  const gitAsync = (...args: readonly string[]): Promise<string> =>
    new Promise((resolve, reject) => {
      execFile(program, args, { cwd: directory, env, encoding: "utf8" }, (error, stdout) => {
        if (error === null) resolve(stdout.replace(/\n$/, ""));
        else reject(error);
      });
    });
  const bare = options.bare === false ? [] : ["--bare"];
  const refFormat = options.refFormat === undefined ? [] : [`--ref-format=${options.refFormat}`];
  git(
    "init",
    "-q",
    "-b",
    "main",
    ...bare,
    `--object-format=${options.objectFormat ?? "sha1"}`,
    ...refFormat,
    ".",
  );
  const tree = git("hash-object", "-t", "tree", "-w", "--stdin");
  const commits = Array.from({ length: 6 }, (_, i) => git("commit-tree", "-m", `commit ${i}`, tree));
  const makeTag = (target: string, type: string, name: string): string =>
    execFileSync(program, ["hash-object", "-t", "tag", "-w", "--stdin"], {
      cwd: directory,
      env,
      encoding: "utf8",
      input: `object ${target}\ntype ${type}\ntag ${name}\ntagger C <c@example.com> 1700000000 +0000\n\n${name}\n`,
    }).trim();
  const tag = makeTag(commits[0] ?? "", "commit", "annotated");
  const tags = [tag, makeTag(tag, "tag", "nested")];
  return {
    directory,
    commits,
    tags,
    git,
    gitAsync,
    refs: () => {
      const lines = git("for-each-ref", "--format=%(refname) %(objectname) %(symref)").split("\n");
      return lines.filter((line) => line !== "").map((line) => line.trimEnd());
    },
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}

export function describeRefs(snapshot: RefSnapshot): string[] {
  return snapshot.all.map(({ name, oid, symbolicTarget }) =>
    `${name} ${oid} ${symbolicTarget ?? ""}`.trimEnd(),
  );
}

/** A small generator of numbers that look random, the same in each run. */
export function createRandom(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}
