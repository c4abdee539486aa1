/**
 * Writing an empty bare repository, as `git init --bare` does.
 * Specification: gitrepository-layout.
 *
 * Differs from git: no template is copied, so there are no sample hooks; files and directories are synced.
 */
import { mkdir, writeFile } from "node:fs/promises";
import type { ObjectFormat } from "../../object/object-format.js";
import type { RefFormat } from "../contracts/repository.js";
import { closeDescriptor, openDescriptor, syncDescriptor, syncDirectory } from "./descriptor.js";
import { ioError } from "./file-errors.js";
import { createRefFiles } from "./refs/create-ref-files.js";

export interface RepositoryLayoutOptions {
  readonly objectFormat: ObjectFormat;
  readonly refFormat: RefFormat;
  readonly defaultBranch: string;
  readonly sync: boolean;
}

const DIRECTORIES = ["hooks", "info", "objects", "objects/info", "objects/pack"];

/** @param path an empty directory. @throws storage/io */
export async function writeRepositoryLayout(path: string, options: RepositoryLayoutOptions): Promise<void> {
  try {
    for (const name of DIRECTORIES) await mkdir(`${path}/${name}`);
    await Promise.all([
      createRefFiles(path, options),
      writeFile(`${path}/config`, formatInitialConfig(options)),
      writeFile(
        `${path}/description`,
        "Unnamed repository; edit this file 'description' to name the repository.\n",
      ),
      writeFile(`${path}/info/exclude`, ""),
    ]);
    if (!options.sync) return;
    await Promise.all([
      syncFile(`${path}/config`),
      syncFile(`${path}/HEAD`),
      ...["", "/info", "/objects", "/objects/info", "/refs"].map((name) => syncDirectory(path + name)),
    ]);
  } catch (cause) {
    throw ioError("making a repository in", path, cause);
  }
}

function formatInitialConfig(options: Pick<RepositoryLayoutOptions, "objectFormat" | "refFormat">): string {
  const extensions: string[] = [];
  if (options.objectFormat !== "sha1") extensions.push(`\tobjectformat = ${options.objectFormat}\n`);
  if (options.refFormat !== "files") extensions.push(`\trefstorage = ${options.refFormat}\n`);
  const version = extensions.length > 0 ? 1 : 0;
  const core = `[core]\n\trepositoryformatversion = ${version}\n\tfilemode = true\n\tbare = true\n`;
  return version === 0 ? core : `${core}[extensions]\n${extensions.join("")}`;
}

async function syncFile(path: string): Promise<void> {
  const fd = await openDescriptor(path, "r");
  try {
    await syncDescriptor(fd);
  } finally {
    await closeDescriptor(fd);
  }
}
