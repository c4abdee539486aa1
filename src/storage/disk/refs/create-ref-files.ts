/** The ref files of a new repository, as `git init` makes them. */
import { mkdir, writeFile } from "node:fs/promises";
import type { ObjectFormat } from "../../../object/object-format.js";
import type { RefFormat } from "../../contracts/repository.js";
import { createReftableFiles } from "./reftable/create-reftable-files.js";

export interface CreateRefFilesOptions {
  readonly refFormat: RefFormat;
  /** `main`, without `refs/heads/`. */
  readonly defaultBranch: string;
  readonly objectFormat: ObjectFormat;
  /** Wait for the disk. Only what is below `reftable/` is synced here. @default true */
  readonly sync?: boolean;
}

export async function createRefFiles(gitDirectory: string, options: CreateRefFilesOptions): Promise<void> {
  if (options.refFormat === "reftable") return createReftableFiles(gitDirectory, { sync: true, ...options });
  await mkdir(`${gitDirectory}/refs/heads`, { recursive: true });
  await mkdir(`${gitDirectory}/refs/tags`, { recursive: true });
  await writeFile(`${gitDirectory}/HEAD`, `ref: refs/heads/${options.defaultBranch}\n`);
}
