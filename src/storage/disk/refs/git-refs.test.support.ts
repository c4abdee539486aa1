/** A repository for tests that real git and a ref store share. */
import { execFile, execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ObjectFormat } from "../../../object/object-format.js";
import type { RefSnapshot } from "../../contracts/ref-store.js";

/** A newer git than the one on PATH, for what that one cannot do. */
export const GIT = process.env.GITWHARF_TEST_GIT ?? "git";

const ENVIRONMENT = {
  PATH: process.env.PATH,
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
  const git = (...args: readonly string[]): string =>
    execFileSync(GIT, args, {
      cwd: directory,
      env: ENVIRONMENT,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
    }).replace(/\n$/, "");
  const gitAsync = (...args: readonly string[]): Promise<string> =>
    new Promise((resolve, reject) => {
      execFile(GIT, args, { cwd: directory, env: ENVIRONMENT, encoding: "utf8" }, (error, stdout) => {
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
    execFileSync(GIT, ["hash-object", "-t", "tag", "-w", "--stdin"], {
      cwd: directory,
      env: ENVIRONMENT,
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
