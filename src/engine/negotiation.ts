/**
 * What both sides have in common: the server's half of the have/ACK exchange, without its words. Keeps state for
 * one request (stateless RPC) or one connection.
 *
 * Readiness is git's: every want that is a commit leads to a commit the client has (or to a parent of one).
 * Specification: gitprotocol-pack "Packfile Negotiation", gitprotocol-v2 "fetch".
 */
import { isPromise, type MaybePromise } from "../base/maybe-promise.js";
import type { ObjectId } from "../object/object-id.js";
import type { Snapshot } from "../storage/contracts/repository.js";
import { type CommitLinks, createCommitReader } from "./fetch/commit-reader.js";
import { WorkBudget } from "./fetch/work-budget.js";
import { peelTag } from "./peel.js";

export interface Negotiation {
  /** True when this side has the object too. Counting and limiting haves is the caller's. */
  addHave(oid: ObjectId): MaybePromise<boolean>;
  /** The haves that this side has too, each once, in the order of arrival. */
  readonly commons: readonly ObjectId[];
  /** True when more haves could not make the pack much smaller. False while nothing is common. */
  isReady(): MaybePromise<boolean>;
}

export interface NegotiationOptions {
  readonly snapshot: Pick<Snapshot, "objects" | "shallow">;
  readonly wants: readonly ObjectId[];
  /** The client's own shallow commits: nothing is common through their parents. */
  readonly clientShallow?: readonly ObjectId[] | undefined;
  readonly signal?: AbortSignal | undefined;
}

export function createNegotiation(options: NegotiationOptions): Negotiation {
  const { snapshot, wants, signal } = options;
  const { objects } = snapshot;
  const cut = new Set([...snapshot.shallow, ...(options.clientShallow ?? [])]);
  const reader = createCommitReader(objects, cut.size > 0 ? cut : undefined);
  const commons: ObjectId[] = [];
  const commonSet = new Set<ObjectId>();
  /** Commits that the client has: haves and their parents. */
  const theirs = new Set<ObjectId>();
  /** Commits from which one of `theirs` is reached. */
  const good = new Set<ObjectId>();
  let oldestHave = Number.POSITIVE_INFINITY;
  let lowestGeneration = Number.POSITIVE_INFINITY;
  /** Wants that were not seen to reach a common commit yet; undefined until first asked. */
  let waiting: ObjectId[] | undefined;
  let askedAt = 0;

  const addCommit = (oid: ObjectId, links: CommitLinks | undefined): void => {
    commons.push(oid);
    commonSet.add(oid);
    if (links === undefined) return;
    theirs.add(oid);
    for (const parent of links.parents) theirs.add(parent);
    if (links.dateSeconds < oldestHave) oldestHave = links.dateSeconds;
    if (links.generation < lowestGeneration) lowestGeneration = links.generation;
  };
  const addOther = (oid: ObjectId): MaybePromise<boolean> => {
    const has = objects.has(oid);
    const use = (present: boolean): boolean => {
      if (present) addCommit(oid, undefined);
      return present;
    };
    return isPromise(has) ? has.then(use) : use(has);
  };

  /** Depth first, newest line first, not past what is older than every have. */
  const reachesCommon = async (
    want: ObjectId,
    hopeless: Set<ObjectId>,
    budget: WorkBudget,
  ): Promise<boolean> => {
    const path: { oid: ObjectId; parents: readonly ObjectId[]; next: number }[] = [];
    const enter = async (oid: ObjectId): Promise<boolean> => {
      if (theirs.has(oid) || good.has(oid)) return true;
      if (hopeless.has(oid)) return false;
      hopeless.add(oid);
      if (budget.spend(1)) await budget.pause();
      const read = reader.read(oid);
      const links = isPromise(read) ? await read : read;
      if (links === undefined) return false;
      const older =
        links.generation !== Number.POSITIVE_INFINITY && lowestGeneration !== Number.POSITIVE_INFINITY
          ? links.generation < lowestGeneration
          : links.dateSeconds < oldestHave;
      if (!older) path.push({ oid, parents: links.parents, next: 0 });
      return false;
    };
    let found = await enter(want);
    while (!found && path.length > 0) {
      const top = path[path.length - 1] as (typeof path)[number];
      const parent = top.parents[top.next++];
      if (parent === undefined) path.pop();
      else found = await enter(parent);
    }
    if (found) {
      good.add(want);
      for (const step of path) good.add(step.oid);
    }
    return found;
  };

  const commitWants = async (budget: WorkBudget): Promise<ObjectId[]> => {
    const found: ObjectId[] = [];
    for (const want of wants) {
      if (budget.spend(1)) await budget.pause();
      const peeled = peelTag(objects, want);
      const end = isPromise(peeled) ? await peeled : peeled;
      if (end?.type === "commit") found.push(end.oid);
    }
    return found;
  };

  const evaluate = async (): Promise<boolean> => {
    const budget = new WorkBudget({ signal });
    waiting ??= await commitWants(budget);
    const hopeless = new Set<ObjectId>();
    const still: ObjectId[] = [];
    for (const want of waiting) {
      // A commit on a path that led nowhere may lead somewhere by another way only through `hopeless` commits.
      if (!(await reachesCommon(want, hopeless, budget))) still.push(want);
    }
    waiting = still;
    askedAt = commons.length;
    return still.length === 0;
  };

  return {
    commons,
    addHave(oid) {
      if (commonSet.has(oid)) return true;
      const read = reader.read(oid);
      const use = (links: CommitLinks | undefined): MaybePromise<boolean> => {
        if (links === undefined) return addOther(oid);
        addCommit(oid, links);
        return true;
      };
      return isPromise(read) ? read.then(use) : use(read);
    },
    isReady() {
      if (commons.length === 0) return false;
      if (waiting !== undefined) {
        if (waiting.length === 0) return true;
        if (askedAt === commons.length) return false;
      }
      return evaluate();
    },
  };
}
