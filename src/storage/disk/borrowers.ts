/**
 * Whether another repository borrows objects from this one (`objects/info/alternates`): then nothing may go that only it needs,
 * and nobody here knows what it needs. Only repositories of the same store are looked at; of others nobody can know.
 */
import { realpath } from "node:fs/promises";
import { parseAlternates } from "./alternates.js";
import { readSmallFile } from "./cached-file.js";
import { findGitDirectory } from "./git-directory.js";
import { listRepositories } from "./list-repositories.js";

const ALTERNATES_BYTES_MAX = 1024 * 1024;

/**
 * @param root where repositories are
 * @param objectsDirectory of the one that may be borrowed from
 * @returns the name of one that borrows from it
 * @throws storage/io
 */
export async function findBorrower(root: string, objectsDirectory: string): Promise<string | undefined> {
  const own = await realOf(objectsDirectory);
  for await (const name of listRepositories(root)) {
    for (const path of await alternatesOf(`${root}/${name}`)) if ((await realOf(path)) === own) return name;
  }
  return undefined;
}

async function alternatesOf(stem: string): Promise<readonly string[]> {
  for (const candidate of [`${stem}.git`, `${stem}/.git`, stem]) {
    const found = await findGitDirectory(candidate);
    if (found === undefined) continue;
    const objects = `${found.commonDirectory}/objects`;
    const bytes = await readSmallFile(`${objects}/info/alternates`, ALTERNATES_BYTES_MAX);
    return bytes === undefined ? [] : parseAlternates(bytes.toString("utf8"), objects);
  }
  return [];
}

async function realOf(path: string): Promise<string> {
  return realpath(path).catch(() => path);
}
