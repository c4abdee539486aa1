/**
 * Which branches are checked out: in the repository's own work tree and in linked ones (`worktrees/NAME/`).
 * Specification: gitrepository-layout, git-worktree.
 */
import { readdir } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import type { WorkTreeUse } from "../contracts/repository.js";
import type { Head } from "../contracts/ref-store.js";
import { readSmallFile } from "./cached-file.js";
import { ioError, isAbsent } from "./file-errors.js";

const SMALL_FILE_BYTES_MAX = 16 * 1024;

export interface WorkTreesOptions {
  readonly commonDirectory: string;
  /** HEAD of the main repository. */
  readonly head: Head;
  readonly bare: boolean;
  /** The main work tree; undefined: the git directory's parent. */
  readonly workTree: string | undefined;
  /** HEAD of a linked work tree whose refs are not files. */
  readonly linkedHead: (gitDirectory: string) => Promise<Head | undefined>;
}

/** Full ref names. A bare repository's HEAD counts, marked as bare. @throws storage/io */
export async function readCheckedOutBranches(
  options: WorkTreesOptions,
): Promise<ReadonlyMap<string, WorkTreeUse>> {
  const { commonDirectory, head, bare } = options;
  const found = new Map<string, WorkTreeUse>();
  const main: WorkTreeUse = {
    path: bare ? commonDirectory : (options.workTree ?? dirname(commonDirectory)),
    gitDirectory: commonDirectory,
    bare,
  };
  const branch = head.symbolicTarget ?? (bare ? undefined : await interruptedBranch(commonDirectory));
  if (branch !== undefined) found.set(branch, main);
  for (const name of await linkedNames(commonDirectory)) {
    const gitDirectory = `${commonDirectory}/worktrees/${name}`;
    const pointer = await readLine(`${gitDirectory}/gitdir`);
    if (pointer === undefined) continue;
    const linked = (await linkedBranch(gitDirectory, options)) ?? (await interruptedBranch(gitDirectory));
    // A bare repository's HEAD takes no branch from a work tree.
    if (linked !== undefined && found.get(linked)?.bare !== false) {
      const path = resolve(gitDirectory, pointer).replace(/\/\.git$/, "");
      found.set(linked, { path, gitDirectory, bare: false });
    }
  }
  return found;
}

async function linkedNames(commonDirectory: string): Promise<string[]> {
  const path = `${commonDirectory}/worktrees`;
  try {
    return await readdir(path);
  } catch (cause) {
    if (isAbsent(cause)) return [];
    throw ioError("listing", path, cause);
  }
}

async function linkedBranch(gitDirectory: string, options: WorkTreesOptions): Promise<string | undefined> {
  const head = await readLine(`${gitDirectory}/HEAD`);
  if (head === undefined) return undefined;
  const target = head.startsWith("ref:") ? head.slice(4).trim() : undefined;
  // What stands in HEAD where the refs are in a reftable.
  if (target === "refs/heads/.invalid") return (await options.linkedHead(gitDirectory))?.symbolicTarget;
  return target;
}

/** A branch whose rebase or bisection is under way: HEAD is detached, but the branch is in use. */
async function interruptedBranch(gitDirectory: string): Promise<string | undefined> {
  const rebased =
    (await readLine(`${gitDirectory}/rebase-merge/head-name`)) ??
    (await readLine(`${gitDirectory}/rebase-apply/head-name`));
  if (rebased?.startsWith("refs/")) return rebased;
  const bisected = await readLine(`${gitDirectory}/BISECT_START`);
  if (bisected === undefined || /^[0-9a-f]{40,64}$/.test(bisected)) return undefined;
  return bisected.startsWith("refs/") ? bisected : `refs/heads/${bisected}`;
}

async function readLine(path: string): Promise<string | undefined> {
  const line = (await readSmallFile(path, SMALL_FILE_BYTES_MAX))?.toString("utf8").split("\n")[0];
  return line === undefined || line === "" ? undefined : line;
}
