/**
 * Commit objects. Specification: gitformat of commits as git-commit-tree writes them.
 *
 *     tree <id> LF, parent <id> LF …, author <identity> LF, committer <identity> LF, further headers, LF, message
 */
import { GitwharfError } from "../base/errors.js";
import { hexLength, type ObjectFormat } from "./object-format.js";
import type { ObjectId } from "./object-id.js";

export interface CommitLinks {
  readonly tree: ObjectId;
  readonly parents: ObjectId[];
  /** Seconds since 1970; 0 when the line cannot be read, as in git. */
  readonly committerSeconds: number;
}

/**
 * What a walk needs, and nothing else is looked at. Ids are not checked to be hexadecimal beyond their length.
 * @throws object/malformed
 */
export function parseCommitLinks(data: Buffer, format: ObjectFormat): CommitLinks {
  const hex = hexLength(format);
  // "tree " and "parent " are 5 and 7 bytes.
  if (data.length < 6 + hex || data[0] !== 0x74 || data[4] !== 0x20 || data[5 + hex] !== 0x0a) {
    throw malformed("it does not begin with its tree");
  }
  const tree = data.toString("latin1", 5, 5 + hex);
  const parents: ObjectId[] = [];
  let at = 6 + hex;
  while (data[at] === 0x70 && data[at + 6] === 0x20 && data.toString("latin1", at, at + 6) === "parent") {
    if (data[at + 7 + hex] !== 0x0a) throw malformed("a parent line is not whole");
    parents.push(data.toString("latin1", at + 7, at + 7 + hex));
    at += 8 + hex;
  }
  return { tree, parents, committerSeconds: committerSeconds(data, at) };
}

function committerSeconds(data: Buffer, from: number): number {
  // The author's line comes first; the committer's is the next.
  let at = data.indexOf(0x0a, from) + 1;
  if (at === 0 || data.toString("latin1", at, at + 10) !== "committer ") return 0;
  const end = data.indexOf(0x0a, at);
  const stop = end < 0 ? data.length : end;
  let close = stop - 1;
  while (close > at && data[close] !== 0x3e) close--;
  at = close + 1;
  while (data[at] === 0x20) at++;
  let seconds = 0;
  for (
    let byte = data[at];
    byte !== undefined && byte >= 0x30 && byte <= 0x39 && at < stop;
    byte = data[++at]
  ) {
    seconds = seconds * 10 + byte - 0x30;
  }
  return Number.isSafeInteger(seconds) ? seconds : 0;
}

function malformed(why: string): GitwharfError {
  return new GitwharfError("object/malformed", `a commit is malformed: ${why}`);
}
