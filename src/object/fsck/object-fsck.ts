/**
 * Checks single objects as `git fsck` does. Pure: what one object says about another (that a `.gitmodules` is a blob,
 * what is in it) is collected in `FsckState` and asked when the other is there.
 * Specification: fsck-msgids.
 */
import { hashBytes, hexLength, type ObjectFormat } from "../object-format.js";
import { isObjectId, type ObjectId, objectIdAt, type ObjectType } from "../object-id.js";
import { checkRefName } from "../ref-name.js";
import { MODE_GITLINK, MODE_SYMLINK, MODE_TREE } from "../tree.js";
import { type FsckFinding, type FsckMessageId, type FsckPolicy, severityOf } from "./fsck-message.js";
import { checkGitmodules } from "./gitmodules.js";
import {
  isDotGit,
  isDotGitattributes,
  isDotGitignore,
  isDotGitmodules,
  isDotMailmap,
} from "./special-names.js";

const NAME_BYTES_MAX = 4096;
const ATTRIBUTES_BYTES_MAX = 100 * 1024 * 1024;
const ATTRIBUTES_LINE_BYTES_MAX = 2048;
const GITMODULES_BYTES_MAX = 512 * 1024 * 1024;

/** Blobs that trees name in a way that makes their content matter. */
export interface FsckState {
  readonly gitmodules: Set<ObjectId>;
  readonly gitattributes: Set<ObjectId>;
}

export function createFsckState(): FsckState {
  return { gitmodules: new Set(), gitattributes: new Set() };
}

export interface CheckObject {
  readonly type: ObjectType;
  readonly oid: ObjectId;
  readonly data: Buffer;
  readonly objectFormat: ObjectFormat;
  readonly policy: FsckPolicy;
  readonly state: FsckState;
}

type Report = (id: FsckMessageId, text: string) => void;

/** What is wrong with it; empty when nothing is. */
export function checkObject(check: CheckObject): readonly FsckFinding[] {
  const { policy, oid } = check;
  if (policy.skipList.has(oid)) return [];
  const findings: FsckFinding[] = [];
  const report: Report = (id, text) => {
    const severity = severityOf(id, policy);
    if (severity !== "ignore") findings.push({ id, severity, message: `${oid}: ${id}: ${text}` });
  };
  switch (check.type) {
    case "commit":
      checkCommit(check, report);
      break;
    case "tree":
      checkTree(check, report);
      break;
    case "tag":
      checkTag(check, report);
      break;
    case "blob":
      checkBlob(check, report);
      break;
  }
  return findings;
}

function checkBlob({ oid, data, state }: CheckObject, report: Report): void {
  if (state.gitmodules.has(oid)) {
    if (data.length > GITMODULES_BYTES_MAX) report("gitmodulesLarge", ".gitmodules too large to parse");
    else checkGitmodules(data.toString("utf8"), report);
  }
  if (state.gitattributes.has(oid)) {
    if (data.length > ATTRIBUTES_BYTES_MAX) report("gitattributesLarge", ".gitattributes too large to parse");
    else if (longestLine(data) >= ATTRIBUTES_LINE_BYTES_MAX) {
      report("gitattributesLineLength", ".gitattributes has too long lines to parse");
    }
  }
}

function longestLine(data: Buffer): number {
  let longest = 0;
  for (let at = 0; at < data.length; ) {
    const end = data.indexOf(0x0a, at);
    const stop = end < 0 ? data.length : end;
    longest = Math.max(longest, stop - at);
    at = stop + 1;
  }
  return longest;
}

const FILE_MODES: ReadonlySet<number> = new Set([0o100755, 0o100644, MODE_SYMLINK, MODE_TREE, MODE_GITLINK]);

function checkTree({ data, objectFormat, state }: CheckObject, report: Report): void {
  const h = hashBytes(objectFormat);
  const found = new Set<FsckMessageId>();
  let previous: Buffer | undefined;
  let previousIsTree = false;
  const names = new Set<string>();
  for (let at = 0; at < data.length; ) {
    const space = data.indexOf(0x20, at);
    const nul = space < 0 ? -1 : data.indexOf(0, space);
    const modeText = space < 0 ? "" : data.toString("latin1", at, space);
    if (nul < 0 || nul + 1 + h > data.length || !/^[0-7]+$/.test(modeText)) {
      report("badTree", "cannot be parsed as a tree");
      return;
    }
    const mode = Number.parseInt(modeText, 8);
    const rawName = data.subarray(space + 1, nul);
    const name = rawName.toString("utf8");
    const isTree = (mode & 0o170000) === MODE_TREE;
    const oid = objectIdAt(data, nul + 1, objectFormat);
    if (/^0+$/.test(oid)) found.add("nullSha1");
    if (name.includes("/")) found.add("fullPathname");
    if (name === "") found.add("emptyName");
    if (name === ".") found.add("hasDot");
    if (name === "..") found.add("hasDotdot");
    if (isDotGit(name)) found.add("hasDotgit");
    if (modeText.startsWith("0")) found.add("zeroPaddedFilemode");
    if (rawName.length > NAME_BYTES_MAX) found.add("largePathname");
    if (!FILE_MODES.has(mode) && mode !== 0o100664) found.add("badFilemode");
    checkSpecialName(name, mode, oid, state, found);
    if (names.has(name)) found.add("duplicateEntries");
    names.add(name);
    if (previous !== undefined && compareNames(previous, previousIsTree, rawName, isTree) > 0)
      found.add("treeNotSorted");
    previous = rawName;
    previousIsTree = isTree;
    at = nul + 1 + h;
  }
  for (const id of found) report(id, TREE_TEXTS[id] ?? "malformed tree");
}

function checkSpecialName(
  name: string,
  mode: number,
  oid: ObjectId,
  state: FsckState,
  found: Set<FsckMessageId>,
): void {
  const isLink = mode === MODE_SYMLINK;
  if (isDotGitmodules(name)) {
    if (isLink) found.add("gitmodulesSymlink");
    else if (mode !== MODE_TREE) state.gitmodules.add(oid);
  } else if (isDotGitattributes(name)) {
    if (isLink) found.add("gitattributesSymlink");
    else if (mode !== MODE_TREE) state.gitattributes.add(oid);
  } else if (isLink && isDotGitignore(name)) found.add("gitignoreSymlink");
  else if (isLink && isDotMailmap(name)) found.add("mailmapSymlink");
}

const TREE_TEXTS: Partial<Record<FsckMessageId, string>> = {
  nullSha1: "contains entries pointing to null sha1",
  fullPathname: "contains full pathnames",
  emptyName: "contains empty pathname",
  hasDot: "contains '.'",
  hasDotdot: "contains '..'",
  hasDotgit: "contains '.git'",
  zeroPaddedFilemode: "contains zero-padded file modes",
  badFilemode: "contains bad file modes",
  duplicateEntries: "contains duplicate file entries",
  treeNotSorted: "not properly sorted",
  largePathname: "contains excessively large pathname",
  gitmodulesSymlink: ".gitmodules is a symbolic link",
  gitattributesSymlink: ".gitattributes is a symlink",
  gitignoreSymlink: ".gitignore is a symlink",
  mailmapSymlink: ".mailmap is a symlink",
};

/** Git's order: a tree's name counts as if it ended in a slash. */
function compareNames(a: Buffer, aIsTree: boolean, b: Buffer, bIsTree: boolean): number {
  const length = Math.min(a.length, b.length);
  const common = Buffer.compare(a.subarray(0, length), b.subarray(0, length));
  if (common !== 0) return common;
  const next = (name: Buffer, isTree: boolean): number => name[length] ?? (isTree ? 0x2f : 0);
  return next(a, aIsTree) - next(b, bIsTree);
}

/** Splits off the header lines. undefined when they are not whole. */
function headerLines(data: Buffer, report: Report): readonly string[] | undefined {
  const end = data.indexOf("\n\n");
  const head = end < 0 ? data : data.subarray(0, end + 1);
  if (head.includes(0)) {
    report("nulInHeader", "unterminated header: NUL in the header");
    return undefined;
  }
  if (end < 0 && data.at(-1) !== 0x0a) {
    report("unterminatedHeader", "unterminated header");
    return undefined;
  }
  return head.toString("latin1").split("\n").slice(0, -1);
}

function checkCommit({ data, objectFormat }: CheckObject, report: Report): void {
  const lines = headerLines(data, report);
  if (lines === undefined) return;
  let at = 0;
  const idLine = (prefix: string): boolean => isObjectId(lines[at]?.slice(prefix.length) ?? "", objectFormat);
  if (lines[at]?.startsWith("tree ") !== true)
    return report("missingTree", "invalid format - expected 'tree' line");
  if (!idLine("tree ")) report("badTreeSha1", "invalid 'tree' line format - bad sha1");
  at++;
  for (; lines[at]?.startsWith("parent ") === true; at++) {
    if (!idLine("parent ")) report("badParentSha1", "invalid 'parent' line format - bad sha1");
  }
  let authors = 0;
  for (; lines[at]?.startsWith("author ") === true; at++, authors++)
    checkIdentity((lines[at] ?? "").slice(7), report);
  if (authors === 0) return report("missingAuthor", "invalid format - expected 'author' line");
  if (authors > 1) report("multipleAuthors", "invalid format - multiple 'author' lines");
  if (lines[at]?.startsWith("committer ") !== true)
    return report("missingCommitter", "invalid format - expected 'committer' line");
  checkIdentity((lines[at] ?? "").slice(10), report);
  if (data.includes(0)) report("nulInCommit", "NUL byte in the commit object body");
}

function checkIdentity(line: string, report: Report): void {
  const open = line.indexOf("<");
  const firstClose = line.indexOf(">");
  if (open === 0)
    return report("missingNameBeforeEmail", "invalid author/committer line - missing space before email");
  if (firstClose >= 0 && (open < 0 || firstClose < open))
    return report("badName", "invalid author/committer line - bad name");
  if (open < 0) return report("missingEmail", "invalid author/committer line - missing email");
  if (line[open - 1] !== " ")
    return report("missingSpaceBeforeEmail", "invalid author/committer line - missing space before email");
  const inside = /^[^<>]*/.exec(line.slice(open + 1))?.[0] ?? "";
  const close = open + 1 + inside.length;
  if (line[close] !== ">") return report("badEmail", "invalid author/committer line - bad email");
  if (line[close + 1] !== " ")
    return report("missingSpaceBeforeDate", "invalid author/committer line - missing space before date");
  const date = line.slice(close + 2);
  if (/^0[0-9]/.test(date) || (date.startsWith("0") && date[1] !== " ")) {
    return report("zeroPaddedDate", "invalid author/committer line - zero-padded date");
  }
  const match = /^([0-9]+)( ?)(.*)$/.exec(date);
  if (match === null) return report("badDate", "invalid author/committer line - bad date");
  if (BigInt(match[1] ?? "0") >= 2n ** 63n)
    return report("badDateOverflow", "invalid author/committer line - date causes integer overflow");
  if (match[2] !== " ") return report("badDate", "invalid author/committer line - bad date");
  if (!/^[+-][0-9]{4}$/.test(match[3] ?? ""))
    report("badTimezone", "invalid author/committer line - bad time zone");
}

function checkTag({ data, objectFormat }: CheckObject, report: Report): void {
  const lines = headerLines(data, report);
  if (lines === undefined) return;
  const [object = "", type = "", tag = "", tagger] = lines;
  if (!object.startsWith("object "))
    return report("missingObject", "invalid format - expected 'object' line");
  if (object.length !== 7 + hexLength(objectFormat) || !isObjectId(object.slice(7), objectFormat)) {
    return report("badObjectSha1", "invalid 'object' line format - bad sha1");
  }
  if (!type.startsWith("type ")) return report("missingTypeEntry", "invalid format - expected 'type' line");
  if (!["commit", "tree", "blob", "tag"].includes(type.slice(5))) report("badType", "invalid 'type' value");
  if (!tag.startsWith("tag ")) return report("missingTagEntry", "invalid format - expected 'tag' line");
  if (checkRefName(`refs/tags/${tag.slice(4)}`) !== undefined)
    report("badTagName", `invalid 'tag' name: ${tag.slice(4)}`);
  if (tagger?.startsWith("tagger ") !== true)
    return report("missingTaggerEntry", "invalid format - expected 'tagger' line");
  checkIdentity(tagger.slice(7), report);
}
