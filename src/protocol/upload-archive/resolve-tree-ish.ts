/**
 * What an archive is of. Only what a visible ref names, and directories of that (`main`, `v1.0:docs`): an id or an
 * expression could reach what no ref does, unless `uploadarchive.allowUnreachable` says that this is no secret.
 * Specification: git-upload-archive, "SECURITY"; gitrevisions.
 */
import { GitwharfError } from "../../base/errors.js";
import type { ArchiveOrigin } from "../../engine/archive/archive-entry.js";
import { findTreeAt } from "../../engine/archive/find-path.js";
import { peelTag } from "../../engine/peel.js";
import { parseCommitLinks } from "../../object/commit.js";
import { isObjectId, type ObjectId } from "../../object/object-id.js";
import { MODE_TREE } from "../../object/tree.js";
import type { ObjectReader } from "../../storage/contracts/object-reader.js";
import type { VisibleRefs } from "../upload-pack/visible-refs.js";
import { quoteLine } from "../wire/request-line.js";

export interface ResolvedTree {
  readonly tree: ObjectId;
  readonly origin: ArchiveOrigin;
}

export interface TreeishContext {
  readonly objects: ObjectReader;
  readonly refs: VisibleRefs;
  readonly allowUnreachable: boolean;
  readonly entriesMax: number;
}

/** @param treeish latin1 @throws protocol/bad-request, object/corrupt */
export async function resolveTreeish(context: TreeishContext, treeish: string): Promise<ResolvedTree> {
  const { objects, refs, allowUnreachable } = context;
  const colon = treeish.indexOf(":");
  const name = colon < 0 ? treeish : treeish.slice(0, colon);
  const utf8 = Buffer.from(name, "latin1").toString("utf8");
  const byId = allowUnreachable && isObjectId(name, objects.objectFormat) ? name : undefined;
  const start = byId ?? refNamed(refs, utf8);
  if (start === undefined) throw bad(`no such ref: ${quoteLine(utf8)}`);
  const found = await treeOf(objects, start);
  if (colon < 0) return found;
  const at = await findTreeAt(objects, found.tree, treeish.slice(colon + 1), context.entriesMax);
  if (at === undefined) throw bad(`not a valid object name: ${quoteLine(treeish)}`);
  if (at.mode !== MODE_TREE) throw bad(`not a tree object: ${at.oid}`);
  return { tree: at.oid, origin: { commit: undefined, modifiedSeconds: nowSeconds() } };
}

/** In git's order: a tag before a branch of the same name. */
function refNamed(refs: VisibleRefs, name: string): ObjectId | undefined {
  if (name === "HEAD" || name === "@") return refs.head.oid;
  if (name === "") return undefined;
  const candidates = [
    ...(name.startsWith("refs/") ? [name] : []),
    ...["refs/", "refs/tags/", "refs/heads/", "refs/remotes/"].map((directory) => directory + name),
    `refs/remotes/${name}/HEAD`,
  ];
  for (const candidate of candidates) {
    const ref = refs.get(candidate);
    if (ref !== undefined) return ref.oid;
  }
  return undefined;
}

async function treeOf(objects: ObjectReader, oid: ObjectId): Promise<ResolvedTree> {
  const peeled = await peelTag(objects, oid);
  if (peeled === undefined) throw bad(`not a valid object name: ${oid}`);
  switch (peeled.type) {
    case "tree":
      return { tree: peeled.oid, origin: { commit: undefined, modifiedSeconds: nowSeconds() } };
    case "commit": {
      const commit = await objects.read(peeled.oid);
      if (commit === undefined)
        throw new GitwharfError("object/corrupt", `the commit ${peeled.oid} is absent`);
      const { tree, committerSeconds } = parseCommitLinks(commit.data, objects.objectFormat);
      return { tree, origin: { commit: peeled.oid, modifiedSeconds: committerSeconds } };
    }
    case "blob":
      throw bad(`not a tree object: ${oid}`);
  }
}

function nowSeconds(): number {
  return Math.floor(Date.now() / 1000);
}

function bad(message: string): GitwharfError {
  return new GitwharfError("protocol/bad-request", message);
}
