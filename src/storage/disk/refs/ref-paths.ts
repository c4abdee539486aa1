/**
 * Where the files of refs are. Specification: gitrepository-layout, git-worktree ("refs").
 *
 * A linked worktree has a HEAD and a few refs of its own in its git directory; everything else is in the common
 * directory that all worktrees share.
 */
import { join } from "node:path";

export interface RefPaths {
  /** Where HEAD is. */
  readonly gitDirectory: string;
  /** Where `refs/`, `logs/` and `packed-refs` are. */
  readonly commonDirectory: string;
  /** True for a linked worktree. */
  readonly linked: boolean;
}

/** Directories below `refs/` that each worktree has for itself. */
export const WORKTREE_DIRECTORIES = ["bisect", "rewritten", "worktree"] as const;

export function refPaths(gitDirectory: string, commonDirectory = gitDirectory): RefPaths {
  return { gitDirectory, commonDirectory, linked: gitDirectory !== commonDirectory };
}

/** The file of a ref, or the directory of refs, of that name. The name was checked: it does not climb. */
export function pathOfRef(paths: RefPaths, name: string): string {
  return join(baseOf(paths, name), name);
}

export function pathOfReflog(paths: RefPaths, name: string): string {
  return join(baseOf(paths, name), "logs", name);
}

/** The directory that a ref's file may not leave, and that is not removed when it is empty. */
export function baseOf(paths: RefPaths, name: string): string {
  return !paths.linked || isShared(name) ? paths.commonDirectory : paths.gitDirectory;
}

function isShared(name: string): boolean {
  if (name === "refs") return true;
  return (
    name.startsWith("refs/") &&
    !WORKTREE_DIRECTORIES.some((own) => name === `refs/${own}` || name.startsWith(`refs/${own}/`))
  );
}
