/**
 * The paths that a commit changes: entries that are as in none of its parents (so that a clean merge changes nothing,
 * and one with changes of its own does). Renames are a path gone and a path come. Not here: which commits to look at.
 */
import { GitwharfError } from "../base/errors.js";
import { isPromise } from "../base/maybe-promise.js";
import { type ObjectId, objectIdAt } from "../object/object-id.js";
import { forEachTreeEntry, MODE_TREE } from "../object/tree.js";
import type { ObjectReader } from "../storage/contracts/object-reader.js";
import type { WorkBudget } from "./fetch/work-budget.js";

export interface ChangedPath {
  readonly path: string;
  /** What stands there now: a blob or a submodule's commit; undefined: nothing. */
  readonly entry: Entry | undefined;
  /** A file stood there in one of the parents. */
  readonly wasThere: boolean;
}

interface Entry {
  readonly mode: number;
  readonly oid: ObjectId;
}

interface Directory {
  /** "" or with a slash at its end. One byte a character. */
  readonly prefix: string;
  readonly tree: ObjectId | undefined;
  readonly oldTrees: readonly (ObjectId | undefined)[];
}

export interface ChangedPathsLimits {
  readonly budget: WorkBudget;
  /** Directories that may still be looked at; one for several commits. */
  readonly counter: { left: number };
}

/**
 * @param parentTrees none: every path is new
 * @throws object/corrupt, object/malformed, base/limit-exceeded
 */
export async function* changedPaths(
  objects: ObjectReader,
  tree: ObjectId,
  parentTrees: readonly ObjectId[],
  { budget, counter }: ChangedPathsLimits,
): AsyncGenerator<ChangedPath> {
  const oldTrees = parentTrees.length === 0 ? [undefined] : parentTrees;
  const stack: Directory[] = [{ prefix: "", tree, oldTrees }];
  for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
    if (--counter.left < 0)
      throw new GitwharfError("base/limit-exceeded", "the push changes more directories than can be judged");
    const entries = await readEntries(objects, at.tree);
    const olds: ReadonlyMap<string, Entry>[] = [];
    for (const old of at.oldTrees) olds.push(await readEntries(objects, old));
    if (budget.spend(1 + olds.length)) await budget.pause();
    // What is gone is gone from every parent, or it is as in one of them.
    const names = new Set([...entries.keys(), ...(olds[0]?.keys() ?? [])]);
    for (const name of names) {
      const entry = entries.get(name);
      const before = olds.map((old) => old.get(name));
      const path = at.prefix + name;
      // A name may have become a directory, or have been one: its files are then paths of their own.
      const file = fileOf(entry);
      if (!before.some((old) => isSame(fileOf(old), file))) {
        const wasThere = before.some((old) => fileOf(old) !== undefined);
        yield { path: readable(path), entry: file, wasThere };
      }
      const below = treeOf(entry);
      const oldBelow = before.map(treeOf);
      if (!oldBelow.includes(below)) stack.push({ prefix: `${path}/`, tree: below, oldTrees: oldBelow });
    }
  }
}

function fileOf(entry: Entry | undefined): Entry | undefined {
  return entry?.mode === MODE_TREE ? undefined : entry;
}

function treeOf(entry: Entry | undefined): ObjectId | undefined {
  return entry?.mode === MODE_TREE ? entry.oid : undefined;
}

function isSame(one: Entry | undefined, other: Entry | undefined): boolean {
  return one?.oid === other?.oid && one?.mode === other?.mode;
}

/**
 * By name, one byte a character: decoded, names that are no UTF-8 would be taken for each other, and what is in one of
 * them would not be seen.
 */
async function readEntries(
  objects: ObjectReader,
  tree: ObjectId | undefined,
): Promise<ReadonlyMap<string, Entry>> {
  const entries = new Map<string, Entry>();
  if (tree === undefined) return entries;
  const read = objects.read(tree);
  const object = isPromise(read) ? await read : read;
  if (object === undefined) throw new GitwharfError("object/corrupt", `tree ${tree} is missing`);
  const { data } = object;
  let count = 0;
  forEachTreeEntry(data, objects.objectFormat, (mode, nameStart, nameEnd, oidAt) => {
    count++;
    const oid = objectIdAt(data, oidAt, objects.objectFormat);
    entries.set(data.toString("latin1", nameStart, nameEnd), { mode, oid });
  });
  if (entries.size !== count)
    throw new GitwharfError("object/malformed", `tree ${tree} has two entries of one name`);
  return entries;
}

function readable(path: string): string {
  return Buffer.from(path, "latin1").toString("utf8");
}
