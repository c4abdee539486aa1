/** The commits and the changed paths of one pushed ref. */
import { GitwharfError } from "../../base/errors.js";
import { isPromise } from "../../base/maybe-promise.js";
import { parseCommitLinks } from "../../object/commit.js";
import { parseCommitText, subjectOf } from "../../object/commit-text.js";
import { isNullObjectId, type ObjectId } from "../../object/object-id.js";
import { changedPaths } from "../changed-paths.js";
import { createCommitReader } from "../fetch/commit-reader.js";
import { WorkBudget } from "../fetch/work-budget.js";
import { peelTag } from "../peel.js";
import type { PathChange, PushCommand, PushedCommit, Signature } from "../push.js";
import { type RevisionRange, walkRange } from "../revision-walk.js";
import type { PushedObjects } from "./pushed-base.js";

/** Directories that one question may look at: a few nested trees may stand for more paths than there is memory. */
const DIRECTORIES_MAX = 200_000;

/** undefined: the id names no commit, or nothing. */
export async function commitBehind(from: PushedObjects, oid: ObjectId): Promise<ObjectId | undefined> {
  if (isNullObjectId(oid)) return undefined;
  const peeled = await peelTag(from.objects, oid);
  return peeled?.type === "commit" ? peeled.oid : undefined;
}

export async function* pushedCommits(
  from: PushedObjects,
  command: PushCommand,
  max: number,
): AsyncGenerator<PushedCommit> {
  const { commits } = await rangeOf(from, command);
  let count = 0;
  for (const { oid } of commits) {
    if (++count > max) {
      throw new GitwharfError(
        "base/limit-exceeded",
        `${command.name} brings more than ${max} commits, which is as many as may be looked at`,
      );
    }
    const commit = await readCommit(from, oid);
    if (commit !== undefined) yield commit;
  }
}

/** undefined: there is no such commit. */
export async function readCommit(from: PushedObjects, oid: ObjectId): Promise<PushedCommit | undefined> {
  const { objects } = from;
  const links = await createCommitReader(objects, from.shallow).read(oid);
  if (links === undefined) return undefined;
  const read = objects.read(oid);
  const object = isPromise(read) ? await read : read;
  if (object === undefined) return undefined;
  const { author, committer, message } = parseCommitText(object.data);
  const { tree, parents } = parseCommitLinks(object.data, objects.objectFormat);
  return {
    oid,
    tree,
    parents,
    author: signatureOf(author),
    committer: signatureOf(committer),
    message,
    subject: subjectOf(message),
    changedPaths: () => differences(from, tree, links.parents),
  };
}

function signatureOf(person: {
  readonly name: string;
  readonly email: string;
  readonly seconds: number;
}): Signature {
  return { name: person.name, email: person.email, date: new Date(person.seconds * 1000) };
}

export async function* pushedPaths(from: PushedObjects, command: PushCommand): AsyncGenerator<PathChange> {
  const tip = await commitBehind(from, command.newOid);
  if (tip === undefined) return;
  let base = await commitBehind(from, command.oldOid);
  if (base === undefined && isNullObjectId(command.oldOid)) {
    // Where the new ref leaves what was here: the newest such commit, which is the tip when it brings nothing new.
    const { commits, boundary } = await rangeOf(from, command);
    base =
      commits.length === 0
        ? tip
        : boundary.reduce<{ oid: ObjectId; dateSeconds: number } | undefined>(
            (newest, one) => (newest === undefined || one.dateSeconds > newest.dateSeconds ? one : newest),
            undefined,
          )?.oid;
  }
  const reader = createCommitReader(from.objects);
  const tree = (await reader.read(tip))?.tree;
  if (tree !== undefined) yield* differences(from, tree, base === undefined ? [] : [base]);
}

async function* differences(
  from: PushedObjects,
  tree: ObjectId,
  parents: readonly ObjectId[],
): AsyncGenerator<PathChange> {
  const reader = createCommitReader(from.objects);
  const parentTrees: ObjectId[] = [];
  for (const parent of parents) {
    const links = await reader.read(parent);
    if (links !== undefined) parentTrees.push(links.tree);
  }
  const budget = new WorkBudget({ signal: from.signal });
  const counter = { left: DIRECTORIES_MAX };
  for await (const { path, entry, wasThere } of changedPaths(from.objects, tree, parentTrees, {
    budget,
    counter,
  })) {
    const change = entry === undefined ? "deleted" : wasThere ? "modified" : "added";
    yield { path, change, oid: entry?.oid };
  }
}

async function rangeOf(from: PushedObjects, { oldOid, newOid }: PushCommand): Promise<RevisionRange> {
  const tip = await commitBehind(from, newOid);
  if (tip === undefined) return { commits: [], boundary: [] };
  const exclude: ObjectId[] = [];
  if (isNullObjectId(oldOid)) {
    for (const ref of from.snapshot.refs.all) exclude.push(ref.peeled ?? ref.oid);
  } else exclude.push((await commitBehind(from, oldOid)) ?? oldOid);
  return walkRange(createCommitReader(from.objects, from.shallow), {
    include: [tip],
    exclude,
    budget: new WorkBudget({ signal: from.signal }),
  });
}
