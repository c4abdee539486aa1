/**
 * Making a repository: it is built under a hidden name near its place, on the same file system, and renamed into it, so
 * that it is there whole or not at all, and so that of two who make it at once exactly one does. What stands under the
 * hidden name is a repository already: a push that makes its own is taken there.
 */
import { randomUUID } from "node:crypto";
import { mkdir, readdir, rename, rm, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { GitwharfError } from "../../base/errors.js";
import { checkRefName } from "../../object/ref-name.js";
import { syncDirectory } from "./descriptor.js";
import { errorCode, ioError, isAbsent } from "./file-errors.js";
import { readStamp } from "./file-stamp.js";
import { realPath } from "./git-directory.js";
import { HIDDEN_NEW_PREFIX, removeOldHidden } from "./hidden-directories.js";
import {
  enclosingRepository,
  isLink,
  isRepositoryOrWorkTree,
  makeParents,
  nearestDirectory,
} from "./repository-path.js";
import { type RepositoryLayoutOptions, writeRepositoryLayout } from "./repository-layout.js";

export interface PreparedDirectory {
  /** Of the bare repository, until it is placed. */
  readonly path: string;
  /** @throws storage/exists, storage/bad-name, storage/io */
  place(): Promise<void>;
  /** Removes it if it was not placed. Idempotent. */
  discard(): Promise<void>;
}

/** @throws storage/exists, storage/bad-name, storage/io */
export async function prepareRepositoryAt(
  root: string,
  name: string,
  options: RepositoryLayoutOptions,
): Promise<PreparedDirectory> {
  const branch = `refs/heads/${options.defaultBranch}`;
  const why = checkRefName(branch);
  if (why !== undefined)
    throw new GitwharfError("storage/bad-name", `'${options.defaultBranch}' cannot be a branch: ${why}`);
  await mustBeFree(root, name);
  const directory = await nearestOrRoot(root, name, options);
  const path = await makeHidden(directory);
  const discard = (): Promise<void> => rm(path, { recursive: true, force: true, maxRetries: 3 });
  try {
    await Promise.all([writeRepositoryLayout(path, options), removeOldHidden(directory)]);
  } catch (error) {
    await discard().catch(() => undefined);
    throw error;
  }
  return { path, place: () => place(path, root, name, options), discard };
}

async function place(
  hidden: string,
  root: string,
  name: string,
  options: { readonly sync: boolean },
): Promise<void> {
  const path = `${root}/${name}.git`;
  await mustBeFree(root, name);
  const { parent, made } = await makeParents(root, name);
  try {
    await removeKeepFiles(`${hidden}/objects/pack`);
    await rename(hidden, path);
  } catch (cause) {
    const code = errorCode(cause);
    if (code === "ENOTEMPTY" || code === "EEXIST" || code === "ENOTDIR") throw exists(name);
    throw ioError("making", path, cause);
  }
  if (!options.sync) return;
  await Promise.all([syncDirectory(parent), ...made.map((directory) => syncDirectory(dirname(directory)))]);
}

/** The push's own, which knows them under the hidden name only. Nobody has collected garbage there. */
async function removeKeepFiles(packs: string): Promise<void> {
  const names = await readdir(packs);
  await Promise.all(names.filter((name) => name.endsWith(".keep")).map((name) => unlink(`${packs}/${name}`)));
}

/** A look beforehand saves the work; the renaming decides. @throws storage/exists, storage/bad-name, storage/io */
async function mustBeFree(root: string, name: string): Promise<void> {
  const outer = await enclosingRepository(root, name);
  if (outer !== undefined) {
    throw new GitwharfError(
      "storage/bad-name",
      `'${name}' cannot be made: it would lie inside the repository '${outer}'`,
    );
  }
  const path = `${root}/${name}`;
  const stands = await Promise.all([
    readStamp(`${path}.git`).then((stamp) => stamp !== undefined),
    isLink(`${path}.git`),
    isRepositoryOrWorkTree(path),
  ]);
  if (stands.includes(true)) throw exists(name);
}

function exists(name: string): GitwharfError {
  return new GitwharfError("storage/exists", `repository '${name}' exists already`);
}

/** Directories between the root and the repository are made when it is placed. */
async function nearestOrRoot(
  root: string,
  name: string,
  { sync }: { readonly sync: boolean },
): Promise<string> {
  const nearest = await nearestDirectory(root, name);
  if (nearest !== undefined && (await realPath(root)) !== undefined) return nearest;
  try {
    const first = await mkdir(root, { recursive: true });
    for (let path = root; sync && first !== undefined && path.length >= first.length; path = dirname(path))
      await syncDirectory(dirname(path));
    return root;
  } catch (cause) {
    throw ioError("making", root, cause);
  }
}

async function makeHidden(parent: string): Promise<string> {
  try {
    // (`mkdtemp` would make it for its owner alone.)
    const hidden = `${parent}/${HIDDEN_NEW_PREFIX}${randomUUID()}`;
    await mkdir(hidden);
    return hidden;
  } catch (cause) {
    if (isAbsent(cause))
      throw new GitwharfError("storage/io", `${parent} was removed while a repository was made in it`, {
        cause,
      });
    throw ioError("making a repository in", parent, cause);
  }
}
