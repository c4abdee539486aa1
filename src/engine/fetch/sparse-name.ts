/**
 * The blob that a `sparse:oid=` filter names: an object id, `<ref>` or `<ref>:<path>`.
 *
 * Differs from git: no other revision syntax (`^`, `~`, `@{…}`) is understood.
 */
import { GitwharfError } from "../../base/errors.js";
import { isObjectId, type ObjectId } from "../../object/object-id.js";
import { hashBytes } from "../../object/object-format.js";
import { objectIdAt } from "../../object/object-id.js";
import type { Ref } from "../../storage/contracts/ref-store.js";
import type { Snapshot } from "../../storage/contracts/repository.js";
import type { ObjectFilter } from "../filter.js";
import { peelTag } from "../peel.js";
import { createCommitReader } from "./commit-reader.js";
import { TreeCursor } from "./tree-cursor.js";

type Named = Pick<Snapshot, "head" | "objects" | "refs">;

/**
 * In the order in which the filters stand.
 * @param isVisibleRef a hidden ref is no name: an answer would tell that it is there
 * @throws protocol/bad-request when one cannot be resolved
 */
export async function resolveSparseBlobs(
  snapshot: Named,
  filter: ObjectFilter | undefined,
  isVisibleRef: (ref: Ref) => boolean = () => true,
): Promise<readonly ObjectId[]> {
  if (filter === undefined) return [];
  if (filter.kind === "combine") {
    const all: ObjectId[] = [];
    for (const part of filter.filters) all.push(...(await resolveSparseBlobs(snapshot, part, isVisibleRef)));
    return all;
  }
  return filter.kind === "sparse-oid" ? [await resolve(snapshot, filter.name, isVisibleRef)] : [];
}

async function resolve(
  snapshot: Named,
  name: string,
  isVisibleRef: (ref: Ref) => boolean,
): Promise<ObjectId> {
  const colon = name.indexOf(":");
  const start = findRevision(snapshot, colon < 0 ? name : name.slice(0, colon), isVisibleRef);
  if (start === undefined) throw unresolved(name);
  if (colon < 0) return start;
  const peeled = await peelTag(snapshot.objects, start);
  if (peeled === undefined) throw unresolved(name);
  const commit = await createCommitReader(snapshot.objects).read(peeled.oid);
  let oid = commit?.tree ?? peeled.oid;
  for (const segment of name.slice(colon + 1).split("/")) {
    const child = await findEntry(snapshot, oid, Buffer.from(segment, "utf8").toString("latin1"));
    if (child === undefined) throw unresolved(name);
    oid = child;
  }
  return oid;
}

function findRevision(
  { refs, head, objects }: Named,
  name: string,
  isVisibleRef: (ref: Ref) => boolean,
): ObjectId | undefined {
  if (isObjectId(name.toLowerCase(), objects.objectFormat)) return name.toLowerCase();
  if (name === "HEAD") return head.oid;
  for (const prefix of ["", "refs/", "refs/tags/", "refs/heads/"]) {
    const ref = refs.get(prefix + name);
    if (ref !== undefined && isVisibleRef(ref)) return ref.oid;
  }
  return undefined;
}

async function findEntry({ objects }: Named, tree: ObjectId, name: string): Promise<ObjectId | undefined> {
  const object = await objects.read(tree);
  if (object === undefined || object.type !== "tree") return undefined;
  const cursor = new TreeCursor(object.data, hashBytes(objects.objectFormat));
  while (cursor.next()) {
    if (cursor.name === name) return objectIdAt(cursor.data, cursor.oidAt, objects.objectFormat);
  }
  return undefined;
}

function unresolved(name: string): GitwharfError {
  return new GitwharfError("protocol/bad-request", `unable to access sparse blob in '${name.slice(0, 100)}'`);
}
