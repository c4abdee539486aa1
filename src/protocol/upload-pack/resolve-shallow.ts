/** The shallow part of a fetch: what the client asks for, as the boundary that it will be told. */
import { GitwharfError } from "../../base/errors.js";
import { computeShallow, INFINITE_DEPTH, type ShallowBoundary } from "../../engine/shallow.js";
import type { ObjectId } from "../../object/object-id.js";
import type { Snapshot } from "../../storage/contracts/repository.js";
import { deepens, type FetchRequest } from "../wire/fetch-request.js";
import { quoteLine } from "../wire/request-line.js";
import type { UploadPackContext } from "./upload-pack-context.js";
import type { VisibleRefs } from "./visible-refs.js";

export interface ShallowAbout {
  readonly context: UploadPackContext;
  readonly snapshot: Snapshot;
  readonly refs: VisibleRefs;
  readonly request: FetchRequest;
}

/** undefined when the fetch does not deepen. @throws protocol/bad-request */
export async function resolveShallow(about: ShallowAbout): Promise<ShallowBoundary | undefined> {
  const { request, refs } = about;
  if (!deepens(request)) return undefined;
  return boundaryOf(about, {
    depth: request.depth,
    since: request.since,
    not: request.not.size === 0 ? undefined : [...request.not].map((name) => resolveDeepenNot(refs, name)),
  });
}

/** v2 tells everyone the boundary of a repository that is shallow itself. */
export function ownShallow(about: ShallowAbout): Promise<ShallowBoundary> {
  return boundaryOf(about, { depth: INFINITE_DEPTH, since: undefined, not: undefined });
}

function boundaryOf(
  { context, snapshot, refs, request }: ShallowAbout,
  to: {
    readonly depth: number | undefined;
    readonly since: number | undefined;
    readonly not: readonly ObjectId[] | undefined;
  },
): Promise<ShallowBoundary> {
  return computeShallow({
    snapshot,
    wants: [...request.wants],
    ...to,
    relative: request.relative,
    clientShallow: [...request.clientShallow],
    isVisibleRef: refs.isVisible,
    signal: context.signal,
  });
}

/** Where a name that a person typed is looked for, in git's order. */
const EXPANSIONS: readonly ((name: string) => string)[] = [
  (name) => name,
  (name) => `refs/${name}`,
  (name) => `refs/tags/${name}`,
  (name) => `refs/heads/${name}`,
  (name) => `refs/remotes/${name}`,
  (name) => `refs/remotes/${name}/HEAD`,
];

/** @throws protocol/bad-request when it names no ref that the caller sees, or more than one */
function resolveDeepenNot(refs: VisibleRefs, name: string): ObjectId {
  const found: ObjectId[] = [];
  for (const expand of EXPANSIONS) {
    const full = expand(name);
    const oid = full === "HEAD" ? refs.head.oid : refs.get(full)?.oid;
    if (oid !== undefined) found.push(oid);
  }
  const [oid] = found;
  if (oid === undefined || found.length > 1) {
    const what = oid === undefined ? "deepen-not is not a ref" : "ambiguous deepen-not";
    throw new GitwharfError(
      "protocol/bad-request",
      `git upload-pack: ${what}: deepen-not ${quoteLine(name)}`,
    );
  }
  return oid;
}
