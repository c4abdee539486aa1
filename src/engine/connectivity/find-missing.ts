/**
 * The exact answer, for a push that needs something that is not there: walks what is new from the tips and tells
 * whether any of it refers to what is missing. (A pack may hold objects that no tip leads to; what those lack is
 * nobody's loss.)
 */
import { isPromise } from "../../base/maybe-promise.js";
import { parseCommitLinks } from "../../object/commit.js";
import { type ObjectId, objectIdAt } from "../../object/object-id.js";
import { hashBytes } from "../../object/object-format.js";
import { parseTagLinks } from "../../object/tag.js";
import type { GitObject, ObjectReader } from "../../storage/contracts/object-reader.js";
import { TreeCursor } from "../fetch/tree-cursor.js";
import type { WorkBudget } from "../fetch/work-budget.js";

export interface MissingObject {
  readonly oid: ObjectId;
  /** The tip that leads to it; undefined when it is needed as the base of a delta. */
  readonly tip?: ObjectId;
}

export interface FindMissingContext {
  readonly objects: ObjectReader;
  readonly isNew: (oid: ObjectId) => boolean;
  /** Objects that are not new and not reachable. */
  readonly unreachable: ReadonlySet<ObjectId>;
  /** New commits whose parents may be absent. */
  readonly newShallow: ReadonlySet<ObjectId>;
  readonly budget: WorkBudget;
}

/**
 * Memory: the ids of the new objects that are met.
 * @throws BudgetExceeded, object/corrupt, storage/io
 */
export async function findMissing(
  context: FindMissingContext,
  tips: readonly ObjectId[],
): Promise<MissingObject | undefined> {
  const { objects, isNew, unreachable, budget } = context;
  const met = new Set<ObjectId>();
  for (const tip of tips) {
    const stack: ObjectId[] = [tip];
    for (let oid = stack.pop(); oid !== undefined; oid = stack.pop()) {
      if (unreachable.has(oid)) return { oid, tip };
      if (met.has(oid) || !isNew(oid)) continue;
      met.add(oid);
      const header = objects.readHeader(oid);
      const { type } = (isPromise(header) ? await header : header) ?? {};
      if (budget.spend(0.5)) await budget.pause();
      if (type === "blob") continue;
      const read = objects.read(oid);
      const object = isPromise(read) ? await read : read;
      if (object === undefined) return { oid, tip };
      if (budget.spend(1 + object.data.length / 8192)) await budget.pause();
      pushLinks(oid, object, context, stack);
    }
  }
  return undefined;
}

function pushLinks(
  oid: ObjectId,
  { type, data }: GitObject,
  context: FindMissingContext,
  stack: ObjectId[],
): void {
  const { objectFormat } = context.objects;
  if (type === "tag") stack.push(parseTagLinks(data, objectFormat).target);
  else if (type === "commit") {
    const { tree, parents } = parseCommitLinks(data, objectFormat);
    stack.push(tree);
    const mayLack = context.newShallow.has(oid);
    for (const parent of parents) if (!mayLack || !context.unreachable.has(parent)) stack.push(parent);
  } else if (type === "tree") {
    const entry = new TreeCursor(data, hashBytes(objectFormat));
    while (entry.next()) if (!entry.isGitlink) stack.push(objectIdAt(data, entry.oidAt, objectFormat));
  }
}
