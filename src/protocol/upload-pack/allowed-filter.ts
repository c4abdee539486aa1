/**
 * May the caller filter like this? `uploadpack.allowFilter` and `uploadpackfilter.*`.
 * Specification: git-config "uploadpackfilter".
 */
import { GitwharfError } from "../../base/errors.js";
import { filterName, type ObjectFilter, parseFilter } from "../../engine/filter.js";
import type { RepositorySettings } from "../../storage/contracts/repository-settings.js";
import type { UploadPackContext } from "./upload-pack-context.js";

/** @throws protocol/bad-request, base/limit-exceeded, protocol/unsupported for a filter that is not allowed */
export function allowedFilter(
  context: UploadPackContext,
  spec: string | undefined,
): ObjectFilter | undefined {
  if (spec === undefined) return undefined;
  const { settings, limits } = context;
  if (!settings.uploadPack.allowFilter) {
    throw new GitwharfError(
      "protocol/unsupported",
      "filtering is switched off for this repository (uploadpack.allowFilter)",
    );
  }
  const filter = parseFilter(spec, limits);
  checkFilter(filter, settings.uploadPackFilter);
  return filter;
}

function checkFilter(filter: ObjectFilter, settings: RepositorySettings["uploadPackFilter"]): void {
  const name = filterName(filter);
  if (!(settings.allowByName.get(name) ?? settings.allow)) {
    throw new GitwharfError("protocol/unsupported", `filter '${name}' not supported`);
  }
  if (filter.kind === "tree-depth" && filter.depth > settings.treeMaxDepth) {
    throw new GitwharfError(
      "protocol/unsupported",
      `tree filter allows max depth ${settings.treeMaxDepth}, but got ${filter.depth}`,
    );
  }
  if (filter.kind === "combine") for (const part of filter.filters) checkFilter(part, settings);
}
