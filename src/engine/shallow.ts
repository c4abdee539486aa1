/**
 * Where a shallow fetch ends: which commits become shallow at the client and which stop being so.
 * Specification: gitprotocol-v2 "fetch" (shallow-info), gitprotocol-pack; the arithmetic is git's.
 *
 * The pack that goes with the answer is planned by `pack-plan.ts` from `shallow` and `unshallow`.
 */
import { GitwharfError } from "../base/errors.js";
import { isPromise } from "../base/maybe-promise.js";
import type { ObjectId } from "../object/object-id.js";
import type { Ref } from "../storage/contracts/ref-store.js";
import type { Snapshot } from "../storage/contracts/repository.js";
import { type CommitReader, createCommitReader } from "./fetch/commit-reader.js";
import { WorkBudget } from "./fetch/work-budget.js";
import { peelTag } from "./peel.js";
import { areReachable } from "./reachability.js";
import { type RevisionRangeOptions, walkRange } from "./revision-walk.js";

/** The depth with which `git fetch --unshallow` asks for everything. */
export const INFINITE_DEPTH = 0x7fffffff;

export interface ShallowRequest {
  readonly snapshot: Snapshot;
  readonly wants: readonly ObjectId[];
  /** Commits to a line, counted from the wants (or, `relative`, from the client's boundary). Excludes the next two. */
  readonly depth?: number | undefined;
  /** Only commits from this time on; seconds since 1970. */
  readonly since?: number | undefined;
  /** Nothing that these reach (`deepen-not`, resolved to ids). */
  readonly not?: readonly ObjectId[] | undefined;
  readonly relative?: boolean | undefined;
  /** What the client says is shallow at its side; ids unknown here are passed over. */
  readonly clientShallow: readonly ObjectId[];
  /** Which refs count for `relative`: a boundary that only hidden refs reach stays. @default all */
  readonly isVisibleRef?: ((ref: Ref) => boolean) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface ShallowBoundary {
  /** To be announced as `shallow`: new boundary commits, without those the client has as such already. */
  readonly shallow: readonly ObjectId[];
  /** To be announced as `unshallow`: the client's boundary commits whose parents are now sent. */
  readonly unshallow: readonly ObjectId[];
}

/** @throws protocol/bad-request when `since` and `not` leave no commit at all */
export async function computeShallow(request: ShallowRequest): Promise<ShallowBoundary> {
  const { snapshot, depth } = request;
  const reader = createCommitReader(snapshot.objects, snapshot.shallow);
  const budget = new WorkBudget({ signal: request.signal });
  const known: ObjectId[] = [];
  for (const oid of new Set(request.clientShallow)) {
    if (budget.spend(0.2)) await budget.pause();
    const has = snapshot.objects.has(oid);
    if (isPromise(has) ? await has : has) known.push(oid);
  }
  if (depth !== undefined) {
    if (depth >= INFINITE_DEPTH && snapshot.shallow.size === 0) return { shallow: [], unshallow: known };
    if (request.relative === true) {
      const heads = await reachableFromRefs(request, known);
      return compare(known, await walkDepth(reader, heads, depth + 1, snapshot.shallow, budget));
    }
    const heads = await peelCommits(snapshot, request.wants, budget);
    return compare(known, await walkDepth(reader, heads, depth, snapshot.shallow, budget));
  }
  if (request.since === undefined && request.not === undefined) return { shallow: [], unshallow: [] };
  return compare(known, await walkRevisions(reader, request, known, budget));
}

interface Reach {
  /** Commits sent without their parents. */
  readonly border: readonly ObjectId[];
  /** Commits sent with their parents. */
  readonly inside: ReadonlySet<ObjectId>;
}

function compare(clientShallow: readonly ObjectId[], reach: Reach): ShallowBoundary {
  const theirs = new Set(clientShallow);
  return {
    shallow: reach.border.filter((oid) => !theirs.has(oid) && !reach.inside.has(oid)),
    unshallow: clientShallow.filter((oid) => reach.inside.has(oid)),
  };
}

/** Breadth first, so that each commit is met at its smallest distance. */
async function walkDepth(
  reader: CommitReader,
  heads: readonly ObjectId[],
  depth: number,
  repositoryShallow: ReadonlySet<ObjectId>,
  budget: WorkBudget,
): Promise<Reach> {
  const border: ObjectId[] = [];
  const inside = new Set<ObjectId>();
  const seen = new Set<ObjectId>(heads);
  let level = [...seen];
  for (let distance = 1; level.length > 0; distance++) {
    const next: ObjectId[] = [];
    for (const oid of level) {
      if (budget.spend(1)) await budget.pause();
      if ((depth < INFINITE_DEPTH && distance >= depth) || repositoryShallow.has(oid)) {
        border.push(oid);
        continue;
      }
      inside.add(oid);
      const read = reader.read(oid);
      const links = isPromise(read) ? await read : read;
      if (links === undefined) throw missing(oid);
      for (const parent of links.parents) {
        if (seen.has(parent)) continue;
        seen.add(parent);
        next.push(parent);
      }
    }
    level = next;
  }
  return { border, inside };
}

/**
 * Commits by `since` and `not`, and which of them are sent without their parents: those with a parent that is not
 * selected. Of these only the ones that the pack leads to are told.
 *
 * Differs from git, which tells all of them: a border commit that only another one leads to is not in the pack, and
 * the client that notes it as shallow cannot deepen any more.
 */
async function walkRevisions(
  reader: CommitReader,
  request: ShallowRequest,
  known: readonly ObjectId[],
  budget: WorkBudget,
): Promise<Reach> {
  const { snapshot } = request;
  const wants = await peelCommits(snapshot, request.wants, budget);
  const exclude = await peelCommits(snapshot, request.not ?? [], budget);
  const selected =
    exclude.length === 0
      ? await newerThan(reader, wants, request.since ?? 0, budget)
      : await outside(reader, { include: wants, exclude, sinceSeconds: request.since, budget });
  if (selected.size === 0) {
    throw new GitwharfError("protocol/bad-request", "no commits selected for shallow requests");
  }
  const border = new Set<ObjectId>();
  for (const [oid, parents] of selected) {
    if (snapshot.shallow.has(oid) || parents.some((parent) => !selected.has(parent))) border.add(oid);
  }
  const inside = new Set([...selected.keys()].filter((oid) => !border.has(oid)));
  // What the client has and will not have as shallow any more leads on, like a want.
  const starts = [...wants, ...known.filter((oid) => inside.has(oid))];
  return { border: await met(reader, { starts, border, cut: snapshot.shallow, budget }), inside };
}

type Selected = ReadonlyMap<ObjectId, readonly ObjectId[]>;

/** By time alone git walks on from what is new enough, and nowhere else. */
async function newerThan(
  reader: CommitReader,
  wants: readonly ObjectId[],
  sinceSeconds: number,
  budget: WorkBudget,
): Promise<Selected> {
  const selected = new Map<ObjectId, readonly ObjectId[]>();
  const seen = new Set(wants);
  const stack = [...wants];
  for (let oid = stack.pop(); oid !== undefined; oid = stack.pop()) {
    if (budget.spend(1)) await budget.pause();
    const read = reader.read(oid);
    const links = isPromise(read) ? await read : read;
    if (links === undefined) throw missing(oid);
    if (links.dateSeconds < sinceSeconds) continue;
    selected.set(oid, links.parents);
    for (const parent of links.parents) {
      if (seen.has(parent)) continue;
      seen.add(parent);
      stack.push(parent);
    }
  }
  return selected;
}

async function outside(reader: CommitReader, options: RevisionRangeOptions): Promise<Selected> {
  const { commits } = await walkRange(reader, options);
  return new Map(commits.map((commit) => [commit.oid, commit.parents.map((parent) => parent.oid)]));
}

/** The border commits at which a walk from `starts` ends. */
async function met(
  reader: CommitReader,
  about: {
    readonly starts: readonly ObjectId[];
    readonly border: ReadonlySet<ObjectId>;
    readonly cut: ReadonlySet<ObjectId>;
    readonly budget: WorkBudget;
  },
): Promise<ObjectId[]> {
  const { starts, border, cut, budget } = about;
  const found: ObjectId[] = [];
  const seen = new Set(starts);
  const stack = [...seen];
  for (let oid = stack.pop(); oid !== undefined; oid = stack.pop()) {
    if (budget.spend(1)) await budget.pause();
    if (border.has(oid)) {
      found.push(oid);
      continue;
    }
    if (cut.has(oid)) continue;
    const read = reader.read(oid);
    const links = isPromise(read) ? await read : read;
    if (links === undefined) throw missing(oid);
    for (const parent of links.parents) {
      if (seen.has(parent)) continue;
      seen.add(parent);
      stack.push(parent);
    }
  }
  return found;
}

async function peelCommits(
  snapshot: Snapshot,
  oids: readonly ObjectId[],
  budget: WorkBudget,
): Promise<ObjectId[]> {
  const commits = new Set<ObjectId>();
  for (const oid of oids) {
    if (budget.spend(1)) await budget.pause();
    const peeled = peelTag(snapshot.objects, oid);
    const end = isPromise(peeled) ? await peeled : peeled;
    if (end?.type === "commit") commits.add(end.oid);
  }
  return [...commits];
}

async function reachableFromRefs(request: ShallowRequest, oids: readonly ObjectId[]): Promise<ObjectId[]> {
  if (oids.length === 0) return [];
  const { snapshot, isVisibleRef } = request;
  const refs = isVisibleRef === undefined ? snapshot.refs.all : snapshot.refs.all.filter(isVisibleRef);
  const tips = refs.map((ref) => ref.oid);
  if (snapshot.head.oid !== undefined) tips.push(snapshot.head.oid);
  const unreachable = new Set(await areReachable(snapshot, oids, tips, request.signal));
  return oids.filter((oid) => !unreachable.has(oid));
}

function missing(oid: ObjectId): GitwharfError {
  return new GitwharfError(
    "object/corrupt",
    `commit ${oid} is missing from the repository; run 'gitwharf fsck'`,
  );
}
