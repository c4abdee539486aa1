/** The ref store that a repository on disk has: files or reftable. */
import { GitwharfError } from "../../base/errors.js";
import type { ObjectFormat } from "../../object/object-format.js";
import type { RefStore } from "../contracts/ref-store.js";
import { openFilesRefStore } from "./refs/files-ref-store.js";

export interface OpenRefStoreOptions {
  readonly gitDirectory: string;
  readonly commonDirectory: string;
  readonly objectFormat: ObjectFormat;
  readonly refFormat: "files" | "reftable";
  readonly logAllRefUpdates: () => Promise<"always" | "true" | "false">;
  readonly durability: "sync" | "none";
}

export function openRefStore(options: OpenRefStoreOptions): RefStore {
  if (options.refFormat === "reftable") {
    throw new GitwharfError("storage/unsupported", `${options.gitDirectory} keeps its refs in a reftable`);
  }
  return openFilesRefStore(options);
}
