/** The shallow part of a fetch: what the client asks for, as the boundary that it will be told. */
import { GitwharfError } from "../../base/errors.js";
import { computeShallow, INFINITE_DEPTH, type ShallowBoundary } from "../../engine/shallow.js";
import type { ObjectId } from "../../object/object-id.js";
import type { Snapshot } from "../../storage/contracts/repository.js";
import { compileHiddenRefs } from "../hidden-refs.js";
import type { FetchRequest } from "./fetch-request.js";
import type { UploadPackContext } from "./upload-pack-context.js";
import type { VisibleRefs } from "./visible-refs.js";

/** undefined when the fetch does not deepen. @throws protocol/bad-request */
export async function resolveShallow(
  context: UploadPackContext,
  snapshot: Snapshot,
  refs: VisibleRefs,
  request: FetchRequest,
): Promise<ShallowBoundary | undefined> {
  const deepens = request.depth !== undefined || request.since !== undefined || request.not.length > 0;
  if (!deepens && snapshot.shallow.size === 0) return undefined;
  const isHidden = compileHiddenRefs(context.settings.uploadPack.hideRefs);
  return computeShallow({
    snapshot,
    wants: [...request.wants],
    // A shallow repository shows its own boundary to everyone.
    depth: deepens ? request.depth : INFINITE_DEPTH,
    since: request.since,
    not: request.not.length === 0 ? undefined : request.not.map((name) => resolveName(refs, name)),
    relative: request.relative,
    clientShallow: request.clientShallow,
    isVisibleRef: (ref) => !isHidden(ref.name),
    signal: context.signal,
  });
}

/** `deepen-not` takes what a person types: a full name, a branch or a tag. */
function resolveName(refs: VisibleRefs, name: string): ObjectId {
  for (const full of [name, `refs/${name}`, `refs/tags/${name}`, `refs/heads/${name}`]) {
    const oid = full === "HEAD" ? refs.head.oid : refs.get(full)?.oid;
    if (oid !== undefined) return oid;
  }
  throw new GitwharfError("protocol/bad-request", `git upload-pack: ambiguous deepen-not: ${name.slice(0, 120)}`);
}
