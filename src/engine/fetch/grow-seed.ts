/**
 * From a set that was made before to the one for wants that lead a little further: after a push, the next clone's
 * objects are those of the clone before and the pushed ones.
 */
import { GitwharfError } from "../../base/errors.js";
import { isPromise } from "../../base/maybe-promise.js";
import type { ObjectId } from "../../object/object-id.js";
import type { WalkedCommit } from "../revision-walk.js";
import type { CommitReader } from "./commit-reader.js";
import type { ObjectSpace } from "./object-space.js";
import type { OrdinalSet } from "./ordinal-set.js";
import { fromReachableSet, type ReachableSet } from "./reachable-set.js";
import type { WorkBudget } from "./work-budget.js";

export interface GrowOptions {
  readonly space: ObjectSpace;
  readonly seed: ReachableSet;
  readonly wants: readonly ObjectId[];
  /** The commits among the wants, and those that their tags name. */
  readonly commits: readonly ObjectId[];
  readonly reader: CommitReader;
  readonly budget: WorkBudget;
}

export interface GrownSet {
  /** All of the seed. */
  readonly reached: OrdinalSet;
  /** The commits that the wants lead to and the seed does not have. */
  readonly commits: readonly WalkedCommit[];
}

/** Commits beyond the seed; with more it is better to begin anew. */
const NEW_COMMITS_MAX = 5000;

class NewCommit implements WalkedCommit {
  readonly oid: ObjectId;
  readonly uninteresting = false;
  readonly parents: NewCommit[] = [];
  tree = "";
  dateSeconds = 0;
  generation = 0;
  constructor(oid: ObjectId) {
    this.oid = oid;
  }
}

/**
 * undefined when the wants do not lead to all of the seed, so that it may hold objects that were not asked for, or
 * when it is no help.
 */
export async function growSeed(options: GrowOptions): Promise<GrownSet | undefined> {
  const { space, seed, budget, reader } = options;
  const reached = fromReachableSet(space, seed);
  if (reached === undefined) return undefined;
  const wants = new Set(options.wants);
  /** What the seed was made from and is not asked for itself: something new must stand directly on it. */
  const unmet = new Set(seed.heads.filter((oid) => !wants.has(oid)));
  const nodes = new Map<ObjectId, NewCommit>();
  const commits: NewCommit[] = [];
  const stack: NewCommit[] = [];
  const meet = (oid: ObjectId): NewCommit => {
    let node = nodes.get(oid);
    if (node === undefined) {
      node = new NewCommit(oid);
      nodes.set(oid, node);
      stack.push(node);
    }
    return node;
  };
  for (const oid of options.commits) meet(oid);
  for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
    if (budget.spend(0.5)) await budget.pause();
    const isKnown = reached.has(space.ordinalOf(node.oid));
    if (isKnown) unmet.delete(node.oid);
    const read = reader.read(node.oid);
    const links = isPromise(read) ? await read : read;
    if (links === undefined) {
      throw new GitwharfError(
        "object/corrupt",
        `commit ${node.oid} is missing from the repository; run 'gitwharf fsck'`,
      );
    }
    node.tree = links.tree;
    node.dateSeconds = links.dateSeconds;
    if (isKnown) continue;
    if (commits.push(node) > NEW_COMMITS_MAX) return undefined;
    for (const parent of links.parents) node.parents.push(meet(parent));
  }
  return unmet.size === 0 ? { reached, commits } : undefined;
}
