/** The ref store that a repository on disk has: files or reftable. */
import { GitwharfError } from "../../base/errors.js";
import type { RefStore } from "../contracts/ref-store.js";
import { type FilesRefStoreOptions, openFilesRefStore } from "./refs/files-ref-store.js";

export interface OpenRefStoreOptions extends FilesRefStoreOptions {
  readonly refFormat: "files" | "reftable";
}

export function openRefStore(options: OpenRefStoreOptions): RefStore {
  if (options.refFormat === "reftable") {
    throw new GitwharfError("storage/unsupported", `${options.gitDirectory} keeps its refs in a reftable`);
  }
  return openFilesRefStore(options);
}
