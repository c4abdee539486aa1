/**
 * The commits that a push brings, in the order in which history grew: parents before children.
 */
import { isPromise } from "../../base/maybe-promise.js";
import type { ObjectId } from "../../object/object-id.js";
import { parseTagLinks } from "../../object/tag.js";
import { parseCommitLinks } from "../../object/commit.js";
import type { ObjectReader } from "../../storage/contracts/object-reader.js";
import type { WorkBudget } from "../fetch/work-budget.js";

export interface NewCommit {
  readonly oid: ObjectId;
  readonly tree: ObjectId;
  readonly parents: readonly ObjectId[];
}

/** Memory: about 300 bytes a commit. */
export async function listNewCommits(
  objects: ObjectReader,
  tips: readonly ObjectId[],
  isNew: (oid: ObjectId) => boolean,
  budget: WorkBudget,
): Promise<NewCommit[]> {
  const listed: NewCommit[] = [];
  const met = new Set<ObjectId>();
  /** A commit stands here twice: to be read, and then, behind its parents, to be listed. */
  const stack: (ObjectId | NewCommit)[] = [...tips];
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    if (typeof next !== "string") {
      listed.push(next);
      continue;
    }
    if (met.has(next) || !isNew(next)) continue;
    met.add(next);
    if (budget.spend(1)) await budget.pause();
    const read = objects.read(next);
    const object = isPromise(read) ? await read : read;
    if (object?.type === "tag") stack.push(parseTagLinks(object.data, objects.objectFormat).target);
    if (object?.type !== "commit") continue;
    const { tree, parents } = parseCommitLinks(object.data, objects.objectFormat);
    stack.push({ oid: next, tree, parents });
    for (const parent of parents) if (!met.has(parent)) stack.push(parent);
  }
  return listed;
}
