/**
 * The commits reachable from some tips and not from others, and the edge between the two: git's `rev-list A --not B`
 * with `--boundary`. Walks by generation where a commit-graph gives it, else by date with some slack for clocks that
 * were wrong; a wrong clock beyond that makes the answer larger, never smaller.
 *
 * It does not look at trees (`object-count.ts`).
 */
import { GitwharfError } from "../base/errors.js";
import { isPromise } from "../base/maybe-promise.js";
import type { ObjectId } from "../object/object-id.js";
import { CommitQueue } from "./fetch/commit-queue.js";
import type { CommitLinks, CommitReader } from "./fetch/commit-reader.js";
import type { WorkBudget } from "./fetch/work-budget.js";

export interface WalkedCommit {
  readonly oid: ObjectId;
  readonly tree: ObjectId;
  readonly dateSeconds: number;
  readonly generation: number;
  readonly parents: readonly WalkedCommit[];
  /** Reachable from what is excluded. */
  readonly uninteresting: boolean;
}

class Node implements WalkedCommit {
  readonly oid: ObjectId;
  tree = "";
  dateSeconds = 0;
  generation = Number.POSITIVE_INFINITY;
  parents: Node[] = [];
  parentOids: readonly ObjectId[] = [];
  uninteresting = false;
  popped = false;
  constructor(oid: ObjectId) {
    this.oid = oid;
  }
}

export interface RevisionRange {
  /** Newest first. */
  readonly commits: readonly WalkedCommit[];
  /** Uninteresting parents of `commits`, each once. */
  readonly boundary: readonly WalkedCommit[];
}

export interface RevisionRangeOptions {
  readonly include: readonly ObjectId[];
  readonly exclude: readonly ObjectId[];
  /** Commits before this time, and all behind them, are left out (git's `--max-age`). Seconds since 1970. */
  readonly sinceSeconds?: number | undefined;
  readonly budget: WorkBudget;
}

/** How many uninteresting commits are still looked at when nothing interesting is left in the queue (as git). */
const SLOP = 5;

/**
 * Tips that are absent or no commits are passed over when excluded.
 * @throws object/corrupt when an included commit, or a parent of one, is missing
 */
export async function walkRange(reader: CommitReader, options: RevisionRangeOptions): Promise<RevisionRange> {
  const { budget, sinceSeconds } = options;
  const nodes = new Map<ObjectId, Node>();
  const queue = new CommitQueue<Node>();
  /** Interesting commits in the queue. */
  let pending = 0;

  const open = (oid: ObjectId, links: CommitLinks, uninteresting: boolean): void => {
    const node = new Node(oid);
    node.tree = links.tree;
    node.dateSeconds = links.dateSeconds;
    node.generation = links.generation;
    node.parentOids = links.parents;
    node.uninteresting = uninteresting || (sinceSeconds !== undefined && links.dateSeconds < sinceSeconds);
    nodes.set(oid, node);
    queue.push(node);
    if (!node.uninteresting) pending++;
  };
  /** Marks what was met already and is reachable from `from`. */
  const paint = (from: Node): void => {
    const stack = [from];
    for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
      if (node.uninteresting) continue;
      node.uninteresting = true;
      if (!node.popped) pending--;
      for (const parent of node.parents) stack.push(parent);
      if (!node.popped) continue;
    }
  };

  for (const [oids, uninteresting] of [
    [options.exclude, true],
    [options.include, false],
  ] as const) {
    for (const oid of oids) {
      if (budget.spend(0.5)) await budget.pause();
      if (nodes.has(oid)) continue;
      const read = reader.read(oid);
      const links = isPromise(read) ? await read : read;
      if (links !== undefined) open(oid, links, uninteresting);
      else if (!uninteresting) throw missing(oid);
    }
  }

  const found: Node[] = [];
  let slop = SLOP;
  let oldest = Number.POSITIVE_INFINITY;
  for (let node = queue.pop(); node !== undefined; node = queue.pop()) {
    if (budget.spend(1)) await budget.pause();
    node.popped = true;
    if (!node.uninteresting) pending--;
    for (const oid of node.parentOids) {
      let parent = nodes.get(oid);
      if (parent === undefined) {
        const read = reader.read(oid);
        const links = isPromise(read) ? await read : read;
        if (links === undefined) {
          if (node.uninteresting) continue; // What the other side has need not be whole here.
          throw missing(oid);
        }
        open(oid, links, node.uninteresting);
        parent = nodes.get(oid) as Node;
      } else if (node.uninteresting) {
        paint(parent);
      }
      node.parents.push(parent);
    }
    if (!node.uninteresting) {
      found.push(node);
      if (node.dateSeconds < oldest) oldest = node.dateSeconds;
      slop = SLOP;
    } else if (pending === 0) {
      const next = queue.peek();
      if (next === undefined) break;
      // Everything that is left has a lower generation than anything found: nothing more can be painted.
      if (next.generation !== Number.POSITIVE_INFINITY) break;
      if (next.dateSeconds < oldest && --slop <= 0) break;
    }
  }

  const commits: Node[] = [];
  const boundary = new Set<Node>();
  for (const node of found) if (!node.uninteresting) commits.push(node);
  for (const node of commits)
    for (const parent of node.parents) if (parent.uninteresting) boundary.add(parent);
  return { commits, boundary: [...boundary] };
}

function missing(oid: ObjectId): GitwharfError {
  return new GitwharfError(
    "object/corrupt",
    `commit ${oid} is missing from the repository or is no commit; run 'gitwharf fsck'`,
  );
}
