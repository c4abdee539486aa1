/**
 * What a repository's config says about how it is kept: `core.repositoryFormatVersion` and `extensions.*`.
 * Specification: gitrepository-layout ("Git Repository Format Versions").
 *
 *     EXTENSION             HERE
 *     objectFormat          sha1, sha256 (version 1 only)
 *     refStorage            files, reftable (version 1 only)
 *     worktreeConfig        accepted; `config.worktree` is not read
 *     preciousObjects       packs are not folded
 *     partialClone          accepted; objects that the promisor keeps are missing ones here
 *     noop, noop-v1, relativeWorktrees, submodulePathConfig   accepted
 *     anything else         refused in version 1, ignored in version 0, as git does
 *
 * Not supported: `compatObjectFormat`, and a `refStorage` that names another directory.
 */
import { GitwharfError } from "../../base/errors.js";
import { isObjectFormat, type ObjectFormat } from "../../object/object-format.js";
import type { RefFormat } from "../contracts/repository.js";
import type { GitConfig } from "./git-config-values.js";

export interface RepositoryFormat {
  readonly objectFormat: ObjectFormat;
  readonly refFormat: RefFormat;
  /** No object may be removed. */
  readonly preciousObjects: boolean;
}

const ANY_VERSION = new Set(["noop", "preciousobjects", "partialclone", "worktreeconfig"]);
const VERSION_1 = new Set([
  "noop-v1",
  "objectformat",
  "refstorage",
  "relativeworktrees",
  "submodulepathconfig",
]);

/** @throws storage/unsupported, storage/bad-config */
export function parseRepositoryFormat(config: GitConfig, path: string): RepositoryFormat {
  const version = config.integer("core.repositoryformatversion") ?? 0;
  const refuse = (why: string): GitwharfError =>
    new GitwharfError("storage/unsupported", `the repository ${path} cannot be served: ${why}`, {
      details: { setting: why },
    });
  if (version < 0 || version > 1) {
    throw refuse(`core.repositoryFormatVersion is ${version}, and versions 0 and 1 are known`);
  }
  for (const { section, subsection, key } of config.entries) {
    if (section !== "extensions" || subsection !== undefined || ANY_VERSION.has(key)) continue;
    if (version === 0 && (VERSION_1.has(key) || key === "compatobjectformat")) {
      throw refuse(`extensions.${key} needs core.repositoryFormatVersion 1`);
    }
    if (version === 1 && !VERSION_1.has(key)) throw refuse(`extensions.${key} is not known`);
  }
  const objectFormat = (config.text("extensions.objectformat") ?? "sha1").toLowerCase();
  if (!isObjectFormat(objectFormat)) throw refuse(`extensions.objectFormat '${objectFormat}' is not known`);
  const refFormat = (config.text("extensions.refstorage") ?? "files").toLowerCase();
  if (refFormat !== "files" && refFormat !== "reftable") {
    throw refuse(`extensions.refStorage '${refFormat}' is not known`);
  }
  const preciousObjects = config.boolean("extensions.preciousobjects") ?? false;
  return { objectFormat, refFormat, preciousObjects };
}
