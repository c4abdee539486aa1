/**
 * Checks an annotated tag as `git fsck` does: the first error ends it. Specification: fsck-msgids, git-mktag.
 */
import { isObjectId } from "../object-id.js";
import type { ObjectFormat } from "../object-format.js";
import { checkRefName } from "../ref-name.js";
import type { Report } from "./fsck-message.js";
import { headerLines } from "./header-lines.js";
import { checkIdentity } from "./identity-fsck.js";
import { readable } from "./readable-text.js";

const TYPES: ReadonlySet<string> = new Set(["commit", "tree", "blob", "tag"]);

export function checkTag(data: Buffer, format: ObjectFormat, report: Report): void {
  const lines = headerLines(data, report);
  if (lines === undefined) return;
  const object = lines.take("object ");
  if (object === undefined) return void report("missingObject", "invalid format - expected 'object' line");
  if (
    !isObjectId(object.toLowerCase(), format) &&
    report("badObjectSha1", "invalid 'object' line format - bad sha1")
  )
    return;
  const type = lines.take("type ");
  if (type === undefined) return void report("missingTypeEntry", "invalid format - expected 'type' line");
  if (!TYPES.has(type) && report("badType", "invalid 'type' value")) return;
  const name = lines.take("tag ");
  if (name === undefined) return void report("missingTagEntry", "invalid format - expected 'tag' line");
  // A name of bytes that are no UTF-8 is a good name for git: latin1 has no other objections.
  if (checkRefName(`refs/tags/${name}`) !== undefined) {
    if (report("badTagName", `invalid 'tag' name: ${readable(name)}`)) return;
  }
  const tagger = lines.take("tagger ");
  if (tagger === undefined) {
    if (report("missingTaggerEntry", "invalid format - expected 'tagger' line")) return;
  } else checkIdentity(tagger, report);
  // A signature with the other hash function.
  if ((lines.take("gpgsig ") ?? lines.take("gpgsig-sha256 ")) !== undefined) {
    while (lines.take(" ") !== undefined);
  }
  if (!lines.ended) report("extraHeaderEntry", "invalid format - extra header(s) after 'tagger'");
}
