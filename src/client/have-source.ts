/**
 * Which commits to tell a server that we have, best first: those at which both sides are known to stand, then backwards in
 * time from our refs, leaving out what lies behind a commit that both have. The client's half of `engine/negotiation.ts`.
 * Specification: gitprotocol-pack "Packfile Negotiation".
 *
 * What it remembers of the history is bounded by how many commits are told, and those are bounded by who asks.
 */
import { isPromise } from "../base/maybe-promise.js";
import { CommitQueue } from "../engine/fetch/commit-queue.js";
import { type CommitReader, createCommitReader } from "../engine/fetch/commit-reader.js";
import { WorkBudget } from "../engine/fetch/work-budget.js";
import { peelTag } from "../engine/peel.js";
import type { ObjectId } from "../object/object-id.js";
import type { Snapshot } from "../storage/contracts/repository.js";

export interface HaveSource {
  /** The next ones, none of them told before; fewer when there are no more. @throws base/aborted, object/corrupt, storage/io */
  next(count: number): Promise<readonly ObjectId[]>;
  /** The server has it, too. */
  acknowledge(oid: ObjectId): void;
}

/** Of those where both are known to stand. */
const KNOWN_MAX = 1024;

interface Node {
  readonly oid: ObjectId;
  readonly dateSeconds: number;
  readonly generation: number;
  readonly parentOids: readonly ObjectId[];
  isCommon: boolean;
  isQueued: boolean;
}

/**
 * @param options.theirs ids that the server has told of refs of its own
 */
export async function createHaveSource(
  snapshot: Pick<Snapshot, "objects" | "refs" | "shallow">,
  options: { readonly theirs: Iterable<ObjectId>; readonly signal?: AbortSignal | undefined },
): Promise<HaveSource> {
  const { objects, refs, shallow } = snapshot;
  const source = new Haves(createCommitReader(objects, shallow), new WorkBudget({ signal: options.signal }));
  const ours = new Set<ObjectId>();
  for (const { oid, peeled, peelKnown } of refs.all) {
    // What a tag leads to may not have been looked for so far.
    const end = peeled === undefined && peelKnown !== true ? (await peelTag(objects, oid))?.oid : peeled;
    ours.add(end ?? oid);
  }
  let known = 0;
  for (const oid of options.theirs)
    if (ours.has(oid) && known < KNOWN_MAX && (await source.open(oid, true))) known++;
  for (const oid of ours) await source.open(oid, false);
  return source;
}

class Haves implements HaveSource {
  readonly #reader: CommitReader;
  readonly #budget: WorkBudget;
  readonly #nodes = new Map<ObjectId, Node>();
  readonly #queue = new CommitQueue<Node>();
  /** At which both are known to stand: told all the same, for the server does not know it. */
  readonly #known: ObjectId[] = [];
  /** Queued, and not common. */
  #pending = 0;

  constructor(reader: CommitReader, budget: WorkBudget) {
    this.#reader = reader;
    this.#budget = budget;
  }

  /** @returns false when it is no commit, or was opened before */
  async open(oid: ObjectId, isKnown: boolean): Promise<boolean> {
    if (this.#nodes.has(oid)) return false;
    if (this.#budget.spend(1)) await this.#budget.pause();
    const read = this.#reader.read(oid);
    const links = isPromise(read) ? await read : read;
    if (links === undefined) return false;
    const { dateSeconds, generation, parents } = links;
    const node: Node = {
      oid,
      dateSeconds,
      generation,
      parentOids: parents,
      isCommon: isKnown,
      isQueued: true,
    };
    this.#nodes.set(oid, node);
    this.#queue.push(node);
    if (isKnown) this.#known.push(oid);
    else this.#pending++;
    return true;
  }

  async next(count: number): Promise<readonly ObjectId[]> {
    const out = this.#known.splice(0, count);
    while (out.length < count && this.#pending > 0) {
      const node = this.#queue.pop();
      if (node === undefined) break;
      node.isQueued = false;
      if (!node.isCommon) {
        this.#pending--;
        out.push(node.oid);
      }
      for (const oid of node.parentOids) {
        await this.open(oid, false);
        if (node.isCommon) this.#markCommon(oid);
      }
    }
    return out;
  }

  acknowledge(oid: ObjectId): void {
    this.#markCommon(oid);
  }

  /** With all that was met behind it. */
  #markCommon(from: ObjectId): void {
    const stack = [from];
    for (let oid = stack.pop(); oid !== undefined; oid = stack.pop()) {
      const node = this.#nodes.get(oid);
      if (node === undefined || node.isCommon) continue;
      node.isCommon = true;
      if (node.isQueued) this.#pending--;
      stack.push(...node.parentOids);
    }
  }
}
