/**
 * A walk from two commits to their ancestors, each painted with the sides that reach it. What both reach is stale from
 * there on, and the walk is over when all that is left is: even where clocks were wrong nothing is missed, since
 * a path to a common ancestor has a commit that is painted once only.
 */
import { isPromise } from "../base/maybe-promise.js";
import type { ObjectId } from "../object/object-id.js";
import type { CommitReader } from "./fetch/commit-reader.js";

export const ONE = 1;
export const TWO = 2;
export const STALE = 4;

export interface Painted {
  readonly oid: ObjectId;
  readonly dateSeconds: number;
  readonly generation: number;
  readonly parents: readonly ObjectId[];
  flags: number;
  queued: boolean;
  /** When it was put into the queue: 0 the first. */
  order: number;
}

/** In which order they are looked at. */
export interface PaintedQueue {
  push(node: Painted): void;
  pop(): Painted | undefined;
}

export class PaintedWalk {
  readonly #reader: CommitReader;
  readonly #queue: PaintedQueue;
  readonly #nodes = new Map<ObjectId, Painted>();
  #pushed = 0;
  /** Commits in the queue that are not stale. */
  #fresh = 0;

  constructor(reader: CommitReader, queue: PaintedQueue) {
    this.#reader = reader;
    this.#queue = queue;
  }

  /** Commits that were met. */
  get size(): number {
    return this.#nodes.size;
  }

  has(oid: ObjectId): boolean {
    return this.#nodes.has(oid);
  }

  /** Paints it; one that is absent, or no commit, is passed over. */
  async reach(oid: ObjectId, flags: number): Promise<void> {
    const known = this.#nodes.get(oid);
    if (known === undefined) {
      const read = this.#reader.read(oid);
      const links = isPromise(read) ? await read : read;
      if (links === undefined) return;
      const { dateSeconds, generation, parents } = links;
      const node: Painted = { oid, dateSeconds, generation, parents, flags, queued: true, order: 0 };
      this.#nodes.set(oid, node);
      this.#push(node);
      return;
    }
    if ((known.flags & flags) === flags) return;
    const wasFresh = known.queued && (known.flags & STALE) === 0;
    known.flags |= flags;
    if (!known.queued) {
      known.queued = true;
      this.#push(known);
    } else if (wasFresh && (known.flags & STALE) !== 0) this.#fresh--;
  }

  /** undefined: it is over. */
  next(): Painted | undefined {
    if (this.#fresh === 0) return undefined;
    const node = this.#queue.pop();
    if (node === undefined) return undefined;
    node.queued = false;
    if ((node.flags & STALE) === 0) this.#fresh--;
    return node;
  }

  #push(node: Painted): void {
    node.order = this.#pushed++;
    this.#queue.push(node);
    if ((node.flags & STALE) === 0) this.#fresh++;
  }
}

/** With what its parents are painted. */
export function flagsForParents({ flags }: Painted): number {
  return (flags & (ONE | TWO)) === (ONE | TWO) ? flags | STALE : flags;
}
