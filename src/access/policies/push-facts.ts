/**
 * What is only known once the objects of a push are in its quarantine, found out when a rule asks and kept: the action,
 * the new commits, the changed paths, sizes.
 */
import { GitwharfError } from "../../base/errors.js";
import { isPromise } from "../../base/maybe-promise.js";
import { changedPaths } from "../../engine/changed-paths.js";
import { createCommitReader } from "../../engine/fetch/commit-reader.js";
import { WorkBudget } from "../../engine/fetch/work-budget.js";
import type { RefAction } from "../../engine/identity.js";
import { peelTag } from "../../engine/peel.js";
import type { Push, PushCommand } from "../../engine/push.js";
import { walkRange, type WalkedCommit } from "../../engine/revision-walk.js";
import { isNullObjectId, type ObjectId, type ObjectType } from "../../object/object-id.js";
import { MODE_GITLINK } from "../../object/tree.js";
import { actionOf } from "../push-action.js";

export interface PushFacts {
  action(): Promise<RefAction>;
  /** Commits that the ref leads to from now on and did not before, without those that `exclude` leads to. */
  commits(exclude: readonly ObjectId[]): Promise<readonly WalkedCommit[]>;
  /** Paths that those commits change, against all that the repository's refs lead to when the ref is new. */
  paths(): Promise<ReadonlySet<string>>;
  /** The largest file among them. */
  largestFile(): Promise<{ readonly path: string; readonly sizeBytes: number } | undefined>;
  /** Bytes of the packs that came. */
  readonly packBytes: number;
}

interface Changes {
  readonly paths: ReadonlySet<string>;
  readonly largest: { readonly path: string; readonly sizeBytes: number } | undefined;
}

export function createPushFacts(push: Push, command: PushCommand): PushFacts {
  const { snapshot, quarantine } = push;
  let action: Promise<RefAction> | undefined;
  let changes: Promise<Changes> | undefined;
  const commits = (exclude: readonly ObjectId[]): Promise<readonly WalkedCommit[]> =>
    newCommits(push, command, exclude);
  const findChanges = (): Promise<Changes> => {
    const known = isNullObjectId(command.oldOid) ? snapshot.refs.all.map((ref) => ref.oid) : [];
    return (changes ??= changesOf(push, command, () => commits(known)));
  };
  return {
    action: () => (action ??= actionOf(push, command)),
    commits,
    paths: async () => (await findChanges()).paths,
    largestFile: async () => (await findChanges()).largest,
    packBytes: (quarantine?.packs ?? []).reduce((sum, pack) => sum + pack.bytes.sizeBytes, 0),
  };
}

async function newCommits(
  push: Push,
  { oldOid, newOid }: PushCommand,
  exclude: readonly ObjectId[],
): Promise<readonly WalkedCommit[]> {
  if (isNullObjectId(newOid)) return [];
  const { objects } = push;
  const tip = (await peelTag(objects, newOid))?.oid ?? newOid;
  const header = objects.readHeader(tip);
  if ((isPromise(header) ? await header : header)?.type !== "commit") return [];
  const shallow = new Set([...push.snapshot.shallow, ...push.newShallow]);
  const { commits } = await walkRange(createCommitReader(objects, shallow), {
    include: [tip],
    exclude: [...(isNullObjectId(oldOid) ? [] : [oldOid]), ...exclude],
    budget: new WorkBudget({ signal: push.signal }),
  });
  return commits;
}

/**
 * A few nested trees may stand for more paths than there is memory: so many directories and paths are looked at, and a
 * push that changes more is refused where a rule asks for them.
 */
const DIRECTORIES_MAX = 200_000;
const PATHS_MAX = 1_000_000;
const PATH_CHARACTERS_TOTAL_MAX = 64 * 1024 * 1024;

/** @throws base/limit-exceeded */
async function changesOf(
  push: Push,
  command: PushCommand,
  commits: () => Promise<readonly WalkedCommit[]>,
): Promise<Changes> {
  const { objects } = push;
  const budget = new WorkBudget({ signal: push.signal });
  const paths = new Set<string>();
  const seen = new Set<ObjectId>();
  const counter = { left: DIRECTORIES_MAX };
  let characters = 0;
  let largest: Changes["largest"];
  const comparisons = (await commits()).map(({ tree, parents }) => ({
    tree,
    parentTrees: parents.map((parent) => parent.tree),
  }));
  // A merge with a commit that the ref leads to already may bring back how things were: it changes nothing that is not
  // so in one of its parents, and yet it changes what the ref shows.
  const [before, after] = [await treeAt(push, command.oldOid), await treeAt(push, command.newOid)];
  if (before !== undefined && after !== undefined) comparisons.push({ tree: after, parentTrees: [before] });
  // A tag of a tree or of a blob has no commits.
  const tip = await bareTip(push, command.newOid);
  if (tip?.type === "tree") comparisons.push({ tree: tip.oid, parentTrees: [] });
  if (tip?.type === "blob") largest = { path: command.name, sizeBytes: tip.sizeBytes };
  for (const { tree, parentTrees } of comparisons) {
    for await (const { path, entry } of changedPaths(objects, tree, parentTrees, { budget, counter })) {
      if (!paths.has(path)) characters += path.length;
      paths.add(path);
      if (paths.size > PATHS_MAX || characters > PATH_CHARACTERS_TOTAL_MAX) throw tooManyPaths();
      if (entry === undefined || entry.mode === MODE_GITLINK || seen.has(entry.oid)) continue;
      seen.add(entry.oid);
      const read = objects.readHeader(entry.oid);
      const sizeBytes = (isPromise(read) ? await read : read)?.sizeBytes ?? 0;
      if (sizeBytes > (largest?.sizeBytes ?? -1)) largest = { path, sizeBytes };
    }
  }
  return { paths, largest };
}

/** The tree or blob that a ref is to name, with or without a tag in between. */
async function bareTip(
  { objects }: Push,
  oid: ObjectId,
): Promise<{ readonly oid: ObjectId; readonly type: ObjectType; readonly sizeBytes: number } | undefined> {
  if (isNullObjectId(oid)) return undefined;
  const tip = (await peelTag(objects, oid))?.oid ?? oid;
  const read = objects.readHeader(tip);
  const header = isPromise(read) ? await read : read;
  if (header === undefined || header.type === "commit") return undefined;
  return { oid: tip, type: header.type, sizeBytes: header.sizeBytes };
}

async function treeAt({ objects }: Push, oid: ObjectId): Promise<ObjectId | undefined> {
  if (isNullObjectId(oid)) return undefined;
  const tip = (await peelTag(objects, oid))?.oid ?? oid;
  return (await createCommitReader(objects).read(tip))?.tree;
}

function tooManyPaths(): GitwharfError {
  return new GitwharfError("base/limit-exceeded", "the push changes more paths than can be judged");
}
