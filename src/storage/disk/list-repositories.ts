/**
 * The names of all repositories below a directory. Crashed makings and deletions that are met on the way are removed.
 */
import { readdir } from "node:fs/promises";
import type { Dirent } from "node:fs";
import { isGitwharfError } from "../../base/errors.js";
import { parseRepositoryName } from "../contracts/repository-name.js";
import { ioError, isAbsent } from "./file-errors.js";
import { identityOf, readStamp } from "./file-stamp.js";
import { isInside, realPath } from "./git-directory.js";
import { isHidden, removeHiddenWhenOld } from "./hidden-directories.js";
import { findRepository, isRepositoryOrWorkTree } from "./repository-path.js";

const DEPTH_MAX = 8;
const LOOKED_AT_ONCE = 16;

/**
 * In byte order. Memory: all names.
 * @param after only names behind this one; directories that have none are not entered
 * @throws storage/io
 */
export async function* listRepositories(root: string, after?: string): AsyncIterable<string> {
  const realRoot = await realPath(root);
  if (realRoot === undefined) return;
  const names = new Set<string>();
  await collect({ root, realRoot, names, after: after ?? "", seen: new Set() }, "", 1);
  // Names are ASCII: the order of strings is that of their bytes.
  yield* [...names].sort();
}

interface Walk {
  readonly root: string;
  readonly realRoot: string;
  readonly names: Set<string>;
  readonly after: string;
  /** Directories that were entered: links may lead to one twice. */
  readonly seen: Set<string>;
}

async function collect(walk: Walk, prefix: string, depth: number): Promise<void> {
  const directory = `${walk.root}/${prefix}`;
  const stamp = await readStamp(directory);
  if (stamp === undefined || walk.seen.has(identityOf(stamp))) return;
  walk.seen.add(identityOf(stamp));
  const entries = await entriesOf(directory);
  for (let i = 0; i < entries.length; i += LOOKED_AT_ONCE) {
    const some = entries.slice(i, i + LOOKED_AT_ONCE);
    const groups = await Promise.all(some.map((entry) => look(walk, prefix, entry)));
    for (const group of groups)
      if (group !== undefined && depth < DEPTH_MAX) await collect(walk, group, depth + 1);
  }
}

/** Takes note of a repository; answers with the prefix of names below when the entry is a directory of others. */
async function look(walk: Walk, prefix: string, entry: Dirent): Promise<string | undefined> {
  const path = `${walk.root}/${prefix}${entry.name}`;
  if (isHidden(entry.name)) {
    await removeHiddenWhenOld(path);
    return undefined;
  }
  const name = nameOf(prefix + entry.name);
  if (name === undefined || !leadsBehind(walk.after, name, entry)) return undefined;
  if (!(await isDirectoryInside(walk, path, entry))) return undefined;
  if (!entry.name.endsWith(".git") && !(await isRepositoryOrWorkTree(path))) return `${prefix}${entry.name}/`;
  if (name > walk.after && (await isServed(walk.root, name))) walk.names.add(name);
  return undefined;
}

/** Can it be, or have in it, a repository that is wanted? What lies below `a` is named `a/…`, and `a-b` is between the two. */
function leadsBehind(after: string, name: string, entry: Dirent): boolean {
  const group = `${name}/`;
  return name > after || (!entry.name.endsWith(".git") && (group > after || after.startsWith(group)));
}

/** undefined when no repository can have such a name. */
function nameOf(path: string): string | undefined {
  try {
    return parseRepositoryName(path);
  } catch {
    return undefined;
  }
}

async function isServed(root: string, name: string): Promise<boolean> {
  try {
    return (await findRepository(root, name)) !== undefined;
  } catch (error) {
    if (isGitwharfError(error, "storage/not-found")) return false;
    throw error;
  }
}

async function isDirectoryInside(walk: Walk, path: string, entry: Dirent): Promise<boolean> {
  if (entry.isDirectory()) return true;
  if (!entry.isSymbolicLink()) return false;
  const real = await realPath(path);
  return real !== undefined && isInside(real, walk.realRoot) && (await readStamp(real))?.isDirectory === true;
}

async function entriesOf(directory: string): Promise<Dirent[]> {
  try {
    return await readdir(directory, { withFileTypes: true });
  } catch (cause) {
    if (isAbsent(cause)) return [];
    throw ioError("listing", directory, cause);
  }
}
