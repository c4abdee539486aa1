/**
 * Finds trees and blobs that a push needs near where it left off: in the trees of the commits that it builds on.
 *
 * New trees are laid beside the trees of the same path that their commits' parents have. Whatever stands in a
 * parent's tree is reachable when the parent is; descent is only where the two differ. Most pushes need a few dozen
 * trees looked at. What this does not find may still be reachable from elsewhere.
 */
import { isPromise } from "../../base/maybe-promise.js";
import { hashBytes } from "../../object/object-format.js";
import { type ObjectId, objectIdAt } from "../../object/object-id.js";
import { parseCommitLinks } from "../../object/commit.js";
import type { ObjectReader } from "../../storage/contracts/object-reader.js";
import { compareEntryNames, TreeCursor } from "../fetch/tree-cursor.js";
import type { WorkBudget } from "../fetch/work-budget.js";
import type { NeededObjects } from "./needed-objects.js";
import { listNewCommits } from "./new-commits.js";

export interface MarkContext {
  readonly objects: ObjectReader;
  readonly isNew: (oid: ObjectId) => boolean;
  readonly needed: NeededObjects;
  readonly budget: WorkBudget;
}

const TREE = 2;
const BLOB = 3;
/** So many commits that a push builds on have their whole trees searched, if need be. */
const SEARCHED_TREES_MAX = 16;

/**
 * Strikes off what it finds.
 * @param tips of the push
 * @throws BudgetExceeded, object/corrupt, storage/io
 */
export async function markNearby(context: MarkContext, tips: readonly ObjectId[]): Promise<void> {
  const { objects, isNew, needed, budget } = context;
  const commits = await listNewCommits(objects, tips, isNew, budget);
  const walk = new NearbyWalk(context);
  const trees = new Map(commits.map(({ oid, tree }) => [oid, tree]));
  const grounds = new Set<ObjectId>();
  for (const { tree, parents } of commits) {
    for (const parent of parents) {
      if (needed.treesAndBlobs === 0) return;
      const newTree = trees.get(parent);
      const ground = newTree ?? (await walk.treeOf(parent));
      if (ground === undefined) continue;
      if (newTree === undefined) grounds.add(ground);
      await walk.compare(tree, ground, newTree === undefined);
    }
  }
  // Renamed directories, and what a later commit took back from elsewhere.
  await walk.search(walk.gone);
  await walk.search([...grounds].slice(0, SEARCHED_TREES_MAX));
}

interface Pair {
  readonly tree: ObjectId;
  readonly ground: ObjectId;
  /** The ground, and so all in it, is known to be reachable. */
  readonly reachable: boolean;
}

class NearbyWalk {
  readonly #context: MarkContext;
  readonly #hashBytes: number;
  readonly #compared = new Set<string>();
  readonly #marked = new Set<ObjectId>();
  readonly #searched = new Set<ObjectId>();
  /** Reachable trees of grounds that stand beside no new tree. */
  readonly gone: ObjectId[] = [];

  constructor(context: MarkContext) {
    this.#context = context;
    this.#hashBytes = hashBytes(context.objects.objectFormat);
  }

  /** Of a commit that the repository has and that is reachable; undefined when it is neither. */
  async treeOf(commit: ObjectId): Promise<ObjectId | undefined> {
    const { objects, needed, budget } = this.#context;
    if (!needed.isSettled(commit)) return undefined;
    if (budget.spend(1)) await budget.pause();
    const object = await objects.read(commit);
    return object?.type === "commit" ? parseCommitLinks(object.data, objects.objectFormat).tree : undefined;
  }

  async compare(tree: ObjectId, ground: ObjectId, reachable: boolean): Promise<void> {
    const { isNew, needed } = this.#context;
    if (reachable) needed.strikeOid(ground, TREE);
    const pairs: Pair[] = [
      { tree, ground, reachable: reachable || (!isNew(ground) && needed.isSettled(ground)) },
    ];
    for (let pair = pairs.pop(); pair !== undefined; pair = pairs.pop()) {
      if (needed.treesAndBlobs === 0) return;
      if (pair.tree === pair.ground || !isNew(pair.tree)) continue;
      const key = `${pair.tree} ${pair.ground} ${pair.reachable}`;
      if (this.#compared.has(key)) continue;
      this.#compared.add(key);
      await this.#comparePair(pair, pairs);
    }
  }

  async #comparePair({ tree, ground, reachable }: Pair, pairs: Pair[]): Promise<void> {
    const { objects, isNew, needed } = this.#context;
    // Of an old tree that is not known to be reachable there is nothing to learn.
    if (!reachable && !isNew(ground)) return;
    const newData = await this.#readTree(tree);
    const oldData = await this.#readTree(ground);
    if (newData === undefined || oldData === undefined) return;
    if (reachable) this.#markEntries(ground, oldData);
    layBeside(
      new TreeCursor(newData, this.#hashBytes),
      new TreeCursor(oldData, this.#hashBytes),
      (entry, old) => {
        if (old === undefined || !old.isTree) return;
        const oldOid = objectIdAt(old.data, old.oidAt, objects.objectFormat);
        if (entry === undefined) {
          if (reachable) this.gone.push(oldOid);
          return;
        }
        const oid = objectIdAt(entry.data, entry.oidAt, objects.objectFormat);
        if (oid === oldOid) return;
        pairs.push({
          tree: oid,
          ground: oldOid,
          reachable: reachable || (!isNew(oldOid) && needed.isSettled(oldOid)),
        });
      },
    );
  }

  /** All that reachable trees hold, to the leaves. */
  async search(roots: readonly ObjectId[]): Promise<void> {
    const { objects, needed } = this.#context;
    const stack = [...roots];
    for (let oid = stack.pop(); oid !== undefined && needed.treesAndBlobs > 0; oid = stack.pop()) {
      if (this.#searched.has(oid)) continue;
      this.#searched.add(oid);
      const data = await this.#readTree(oid);
      if (data === undefined) continue;
      this.#markEntries(oid, data);
      const entry = new TreeCursor(data, this.#hashBytes);
      while (entry.next()) if (entry.isTree) stack.push(objectIdAt(data, entry.oidAt, objects.objectFormat));
    }
  }

  #markEntries(oid: ObjectId, data: Buffer): void {
    if (this.#marked.has(oid)) return;
    this.#marked.add(oid);
    const { needed } = this.#context;
    needed.strikeOid(oid, TREE);
    const entry = new TreeCursor(data, this.#hashBytes);
    while (entry.next()) if (!entry.isGitlink) needed.strike(data, entry.oidAt, entry.isTree ? TREE : BLOB);
  }

  async #readTree(oid: ObjectId): Promise<Buffer | undefined> {
    const { objects, budget } = this.#context;
    const read = objects.read(oid);
    const object = isPromise(read) ? await read : read;
    if (object?.type !== "tree") return undefined;
    if (budget.spend(1 + object.data.length / 8192)) await budget.pause();
    return object.data;
  }
}

/** Entries of the same name and kind in pairs, all others alone. */
function layBeside(
  entry: TreeCursor,
  old: TreeCursor,
  visit: (entry: TreeCursor | undefined, old: TreeCursor | undefined) => void,
): void {
  let hasEntry = entry.next();
  let hasOld = old.next();
  while (hasEntry || hasOld) {
    const order = !hasEntry ? 1 : !hasOld ? -1 : compareEntryNames(entry, old);
    visit(order <= 0 ? entry : undefined, order >= 0 ? old : undefined);
    if (order <= 0) hasEntry = entry.next();
    if (order >= 0) hasOld = old.next();
  }
}
