/**
 * From a checked repository name to the git directory that it names, or to the place where it would be made.
 */
import { lstat, mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { GitwharfError } from "../../base/errors.js";
import { ioError, leadsNowhere } from "./file-errors.js";
import { readStamp } from "./file-stamp.js";
import {
  findGitDirectory,
  type GitDirectory,
  isGitDirectory,
  isInside,
  mustBeInside,
  realPath,
} from "./git-directory.js";

/**
 * `NAME.git`, else `NAME/.git`, else `NAME`.
 * @param root absolute; made by nobody here
 * @throws storage/not-found when a link leads out of the root, storage/io
 */
export async function findRepository(root: string, name: string): Promise<GitDirectory | undefined> {
  const realRoot = await realPath(root);
  if (realRoot === undefined || (await enclosingRepository(root, name)) !== undefined) return undefined;
  for (const candidate of [`${root}/${name}.git`, `${root}/${name}/.git`, `${root}/${name}`]) {
    const found = await findGitDirectory(candidate);
    if (found === undefined) continue;
    mustBeInside(found.path, realRoot, name);
    mustBeInside(found.commonDirectory, realRoot, name);
    return found;
  }
  return undefined;
}

/** The name of the repository, bare or with a work tree, inside of which `name` would lie. */
export async function enclosingRepository(root: string, name: string): Promise<string | undefined> {
  const segments = name.split("/");
  for (let length = 1; length < segments.length; length++) {
    const outer = segments.slice(0, length).join("/");
    if (await isRepositoryOrWorkTree(`${root}/${outer}`)) return outer;
  }
  return undefined;
}

export async function isRepositoryOrWorkTree(path: string): Promise<boolean> {
  const [dotGit, bare] = await Promise.all([readStamp(`${path}/.git`), isGitDirectory(path)]);
  return dotGit !== undefined || bare;
}

/**
 * The innermost directory on the way to `NAME.git` that is there; undefined when even the root is not. To be looked at
 * before anything is made: `mkdir` follows links.
 * @throws storage/bad-name when a link on the way leads out of the root, storage/io
 */
export async function nearestDirectory(root: string, name: string): Promise<string | undefined> {
  const parent = dirname(`${root}/${name}.git`);
  const cannot = (why: string) => new GitwharfError("storage/bad-name", `'${name}' cannot be made: ${why}`);
  for (let path = parent; path.length >= root.length; path = dirname(path)) {
    const real = await realPath(path);
    if (real === undefined) {
      // A link that leads nowhere is not to be made into one that leads somewhere.
      if (await isLink(path)) throw cannot("a link on its path leads nowhere");
      if (path === dirname(path)) return undefined;
      continue;
    }
    const realRoot = await realPath(root);
    if (realRoot === undefined) return undefined;
    if (!isInside(real, realRoot)) throw cannot("a link on its path leads out of the served directory");
    if ((await readStamp(real))?.isDirectory === false) throw cannot("a file is on its path");
    return path;
  }
  return undefined;
}

/** Wherever it leads. */
export async function isLink(path: string): Promise<boolean> {
  try {
    return (await lstat(path)).isSymbolicLink();
  } catch (cause) {
    if (leadsNowhere(cause)) return false;
    throw ioError("looking at", path, cause);
  }
}

/**
 * Makes the directory in which `NAME.git` is to stand, and answers with the directories that were made, outermost
 * first.
 * @throws storage/bad-name when a link on the way leads out of the root, storage/io
 */
export async function makeParents(
  root: string,
  name: string,
): Promise<{ readonly parent: string; readonly made: readonly string[] }> {
  const parent = dirname(`${root}/${name}.git`);
  const made: string[] = [];
  await nearestDirectory(root, name);
  try {
    const first = await mkdir(parent, { recursive: true });
    for (let path = parent; first !== undefined && path.length >= first.length; path = dirname(path))
      made.unshift(path);
  } catch (cause) {
    throw ioError("making", parent, cause);
  }
  const [realRoot, realParent] = await Promise.all([realPath(root), realPath(parent)]);
  if (realRoot === undefined || realParent === undefined) {
    throw new GitwharfError("storage/io", `${parent} was removed while a repository was made in it`);
  }
  if (!isInside(realParent, realRoot)) {
    throw new GitwharfError(
      "storage/bad-name",
      `'${name}' cannot be made: a link on its path leads out of the served directory`,
    );
  }
  return { parent, made };
}
