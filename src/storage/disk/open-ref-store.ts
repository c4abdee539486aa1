/** The ref store that a repository on disk has: files or reftable. */
import type { RefFormat } from "../contracts/repository.js";
import type { RefStore } from "../contracts/ref-store.js";
import { type FilesRefStoreOptions, openFilesRefStore } from "./refs/files-ref-store.js";
import { openReftableRefStore } from "./refs/reftable/reftable-ref-store.js";

export interface OpenRefStoreOptions extends FilesRefStoreOptions {
  readonly refFormat: RefFormat;
}

export function openRefStore(options: OpenRefStoreOptions): RefStore {
  return options.refFormat === "reftable" ? openReftableRefStore(options) : openFilesRefStore(options);
}
