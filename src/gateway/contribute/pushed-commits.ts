/** The commits of a pack that its tip leads to, and those outside that they stand on. */
import { throwIfAborted } from "../../base/errors.js";
import { isPromise } from "../../base/maybe-promise.js";
import { parseCommitLinks } from "../../object/commit.js";
import type { ObjectId } from "../../object/object-id.js";
import type { ObjectReader } from "../../storage/contracts/object-reader.js";
import { refuse } from "./refused.js";

export interface PushedCommits {
  /** From the tip backwards. */
  readonly commits: readonly ObjectId[];
  readonly boundary: readonly ObjectId[];
}

/** @throws Refused, object/malformed, base/aborted, storage/io */
export async function findPushedCommits(
  objects: ObjectReader,
  about: {
    readonly tip: ObjectId;
    readonly isPushed: (oid: ObjectId) => boolean;
    readonly commitsMax: number;
    readonly signal: AbortSignal;
  },
): Promise<PushedCommits> {
  const { tip, isPushed, commitsMax, signal } = about;
  const commits = new Set<ObjectId>([tip]);
  const boundary = new Set<ObjectId>();
  for (const oid of commits) {
    throwIfAborted(signal);
    if (commits.size > commitsMax)
      throw refuse(
        "too many commits",
        `A push may have at most ${commitsMax} commits. Fetch from the upstream first, so that git sends only yours.`,
      );
    const read = objects.read(oid);
    const object = isPromise(read) ? await read : read;
    if (object?.type !== "commit")
      throw refuse("not a commit", "What is pushed to a branch has to be a commit.");
    for (const parent of parseCommitLinks(object.data, objects.objectFormat).parents)
      (isPushed(parent) ? commits : boundary).add(parent);
  }
  return { commits: [...commits], boundary: [...boundary] };
}
