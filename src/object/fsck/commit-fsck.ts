/**
 * Checks a commit as `git fsck` does: the first error ends it. Specification: fsck-msgids.
 */
import { isObjectId } from "../object-id.js";
import type { ObjectFormat } from "../object-format.js";
import type { Report } from "./fsck-message.js";
import { headerLines } from "./header-lines.js";
import { checkIdentity } from "./identity-fsck.js";

export function checkCommit(data: Buffer, format: ObjectFormat, report: Report): void {
  const lines = headerLines(data, report);
  if (lines === undefined) return;
  const isId = (text: string): boolean => isObjectId(text.toLowerCase(), format);
  const tree = lines.take("tree ");
  if (tree === undefined) return void report("missingTree", "invalid format - expected 'tree' line");
  if (!isId(tree) && report("badTreeSha1", "invalid 'tree' line format - bad sha1")) return;
  for (let parent = lines.take("parent "); parent !== undefined; parent = lines.take("parent ")) {
    if (!isId(parent) && report("badParentSha1", "invalid 'parent' line format - bad sha1")) return;
  }
  let authors = 0;
  for (let author = lines.take("author "); author !== undefined; author = lines.take("author ")) {
    authors++;
    if (checkIdentity(author, report)) return;
  }
  if (authors < 1 && report("missingAuthor", "invalid format - expected 'author' line")) return;
  if (authors > 1 && report("multipleAuthors", "invalid format - multiple 'author' lines")) return;
  const committer = lines.take("committer ");
  if (committer === undefined)
    return void report("missingCommitter", "invalid format - expected 'committer' line");
  if (checkIdentity(committer, report)) return;
  if (data.includes(0)) report("nulInCommit", "NUL byte in the commit object body");
}
