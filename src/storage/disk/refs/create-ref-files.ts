/** The ref files of a new repository, as `git init` makes them. */
import { mkdir, writeFile } from "node:fs/promises";
import { GitwharfError } from "../../../base/errors.js";

export interface CreateRefFilesOptions {
  readonly refFormat: "files" | "reftable";
  /** `main`, without `refs/heads/`. */
  readonly defaultBranch: string;
}

export async function createRefFiles(gitDirectory: string, options: CreateRefFilesOptions): Promise<void> {
  if (options.refFormat === "reftable")
    throw new GitwharfError("storage/unsupported", "reftables are not yet written");
  await mkdir(`${gitDirectory}/refs/heads`, { recursive: true });
  await mkdir(`${gitDirectory}/refs/tags`, { recursive: true });
  await writeFile(`${gitDirectory}/HEAD`, `ref: refs/heads/${options.defaultBranch}\n`);
}
