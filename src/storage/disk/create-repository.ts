/**
 * Making a repository: it is built under a hidden name beside its place and renamed into it, so that it is there
 * whole or not at all, and so that of two who make it at once exactly one does.
 */
import { randomUUID } from "node:crypto";
import { mkdir, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { GitwharfError } from "../../base/errors.js";
import { checkRefName } from "../../object/ref-name.js";
import { syncDirectory } from "./descriptor.js";
import { errorCode, ioError, isAbsent } from "./file-errors.js";
import { readStamp } from "./file-stamp.js";
import { isRepositoryOrWorkTree, enclosingRepository, makeParents } from "./repository-path.js";
import { type RepositoryLayoutOptions, writeRepositoryLayout } from "./repository-layout.js";

/** No repository name begins with a dot. */
export const HIDDEN_NEW_PREFIX = ".gitwharf-new-";

/** @throws storage/exists, storage/bad-name, storage/io */
export async function createRepositoryAt(
  root: string,
  name: string,
  options: RepositoryLayoutOptions,
): Promise<void> {
  const branch = `refs/heads/${options.defaultBranch}`;
  const why = checkRefName(branch);
  if (why !== undefined)
    throw new GitwharfError("storage/bad-name", `'${options.defaultBranch}' cannot be a branch: ${why}`);
  const outer = await enclosingRepository(root, name);
  if (outer !== undefined) {
    throw new GitwharfError(
      "storage/bad-name",
      `'${name}' cannot be made: it would lie inside the repository '${outer}'`,
    );
  }
  const path = `${root}/${name}.git`;
  const exists = new GitwharfError("storage/exists", `repository '${name}' exists already`);
  // A look beforehand saves the work; the renaming decides.
  if ((await readStamp(path)) !== undefined || (await isRepositoryOrWorkTree(`${root}/${name}`)))
    throw exists;
  const { parent, made } = await makeParents(root, name);
  const hidden = await makeHidden(parent);
  try {
    await writeRepositoryLayout(hidden, options);
    await rename(hidden, path);
  } catch (cause) {
    await rm(hidden, { recursive: true, force: true }).catch(() => undefined);
    const code = errorCode(cause);
    if (code === "ENOTEMPTY" || code === "EEXIST" || code === "ENOTDIR") throw exists;
    throw ioError("making", path, cause);
  }
  if (!options.sync) return;
  await Promise.all([syncDirectory(parent), ...made.map((directory) => syncDirectory(dirname(directory)))]);
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
