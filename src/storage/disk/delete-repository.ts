/**
 * Deleting a repository: it is renamed to a hidden name, which no one finds, and then removed. Requests that run on
 * it keep the packs that they have open.
 */
import { mkdtemp, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { GitwharfError } from "../../base/errors.js";
import { syncDirectory } from "./descriptor.js";
import { ioError } from "./file-errors.js";
import { readStamp } from "./file-stamp.js";
import { isGitDirectory } from "./git-directory.js";
import { HIDDEN_DELETED_PREFIX } from "./hidden-directories.js";
import { findRepository } from "./repository-path.js";

/**
 * Not supported: deleting a repository that has a work tree; its owner does that by hand.
 * @throws storage/not-found, storage/unsupported, storage/io
 */
export async function deleteRepositoryAt(
  root: string,
  name: string,
  options: { readonly sync: boolean },
): Promise<void> {
  const found = await findRepository(root, name);
  if (found === undefined)
    throw new GitwharfError("storage/not-found", `repository '${name}' does not exist`);
  const path = await bareDirectory(`${root}/${name}`);
  if (path === undefined) {
    throw new GitwharfError(
      "storage/unsupported",
      `repository '${name}' has a work tree; remove ${found.path} by hand`,
    );
  }
  const parent = dirname(path);
  try {
    const hidden = await mkdtemp(`${parent}/${HIDDEN_DELETED_PREFIX}`);
    try {
      await rename(path, `${hidden}/repository`);
      if (options.sync) await syncDirectory(parent);
    } finally {
      await rm(hidden, { recursive: true, force: true, maxRetries: 3 });
    }
  } catch (cause) {
    throw ioError("deleting", path, cause);
  }
}

async function bareDirectory(stem: string): Promise<string | undefined> {
  if ((await readStamp(`${stem}.git`)) !== undefined && (await isGitDirectory(`${stem}.git`)))
    return `${stem}.git`;
  return (await isGitDirectory(stem)) ? stem : undefined;
}
