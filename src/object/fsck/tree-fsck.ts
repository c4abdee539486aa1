/**
 * Checks a tree as `git fsck` does. Names are byte strings (latin1). Specification: fsck-msgids.
 */
import { hashBytes, type ObjectFormat } from "../object-format.js";
import { type ObjectId, objectIdAt } from "../object-id.js";
import { MODE_GITLINK, MODE_SYMLINK, MODE_TREE } from "../tree.js";
import type { FsckMessageId, Report } from "./fsck-message.js";
import {
  isDotGit,
  isDotGitattributes,
  isDotGitignore,
  isDotGitmodules,
  isDotMailmap,
} from "./special-names.js";

/** Blobs that trees name in a way that makes their content matter. */
export interface NamedBlobs {
  readonly gitmodules: Set<ObjectId>;
  readonly gitattributes: Set<ObjectId>;
}

const NAME_BYTES_MAX = 4096;
const MODES: ReadonlySet<number> = new Set([0o100755, 0o100644, MODE_SYMLINK, MODE_TREE, MODE_GITLINK]);
/** Of old trees. */
const MODE_GROUP_WRITABLE = 0o100664;
const MODE_KIND = 0o170000;

interface Entry {
  readonly modeText: string;
  readonly mode: number;
  readonly name: string;
  readonly oid: ObjectId;
  /** Where the next one begins. */
  readonly end: number;
}

export interface TreeFsck {
  readonly data: Buffer;
  readonly objectFormat: ObjectFormat;
  readonly strict: boolean;
  readonly state: NamedBlobs;
}

/** Each message at most once. */
export function checkTree({ data, objectFormat, strict, state }: TreeFsck, report: Report): void {
  const found = new Set<FsckMessageId>();
  const order = new OrderCheck();
  for (let at = 0; at < data.length; ) {
    const entry = entryAt(data, at, objectFormat);
    if (entry === undefined) {
      found.add("badTree");
      break;
    }
    const { name, mode } = entry;
    if (/^0+$/.test(entry.oid)) found.add("nullSha1");
    if (name.includes("/")) found.add("fullPathname");
    if (name === ".") found.add("hasDot");
    if (name === "..") found.add("hasDotdot");
    if (isDotGit(name)) found.add("hasDotgit");
    if (entry.modeText.startsWith("0")) found.add("zeroPaddedFilemode");
    if (name.length > NAME_BYTES_MAX) found.add("largePathname");
    checkSpecialName(entry, state, found);
    at = entry.end;
    // Git judges mode and order of an entry when it knows that another follows or none does.
    if (at < data.length && entryAt(data, at, objectFormat) === undefined) continue;
    if (!MODES.has(mode) && (strict || mode !== MODE_GROUP_WRITABLE)) found.add("badFilemode");
    const disorder = order.next(name, (mode & MODE_KIND) === MODE_TREE);
    if (disorder !== undefined) found.add(disorder);
  }
  for (const [id, text] of TEXTS) if (found.has(id)) report(id, text);
}

/** undefined: it cannot be parsed. */
function entryAt(data: Buffer, at: number, format: ObjectFormat): Entry | undefined {
  const h = hashBytes(format);
  // As git does: when the last entry is not whole, no entry is looked at.
  if (data.length - at < h + 3 || data[data.length - h - 1] !== 0) return undefined;
  let space = at;
  let mode = 0;
  for (; data[space] !== 0x20; space++) {
    const byte = data[space];
    if (byte === undefined || byte < 0x30 || byte > 0x37) return undefined;
    // Git keeps 16 bits of it.
    mode = (mode * 8 + byte - 0x30) & 0xffff;
  }
  const nul = data.indexOf(0, space);
  if (space === at || nul <= space + 1 || nul + 1 + h > data.length) return undefined;
  return {
    modeText: data.toString("latin1", at, space),
    mode,
    name: data.toString("latin1", space + 1, nul),
    oid: objectIdAt(data, nul + 1, format),
    end: nul + 1 + h,
  };
}

function checkSpecialName({ name, mode, oid }: Entry, state: NamedBlobs, found: Set<FsckMessageId>): void {
  const isLink = (mode & MODE_KIND) === MODE_SYMLINK;
  if (isDotGitmodules(name)) {
    if (isLink) found.add("gitmodulesSymlink");
    else state.gitmodules.add(oid);
  }
  if (isDotGitattributes(name)) {
    if (isLink) found.add("gitattributesSymlink");
    else state.gitattributes.add(oid);
  }
  if (isLink && isDotGitignore(name)) found.add("gitignoreSymlink");
  if (isLink && isDotMailmap(name)) found.add("mailmapSymlink");
}

/** In git's order of reporting. */
const TEXTS: readonly (readonly [FsckMessageId, string])[] = [
  ["gitmodulesSymlink", ".gitmodules is a symbolic link"],
  ["gitattributesSymlink", ".gitattributes is a symlink"],
  ["gitignoreSymlink", ".gitignore is a symlink"],
  ["mailmapSymlink", ".mailmap is a symlink"],
  ["badTree", "cannot be parsed as a tree"],
  ["nullSha1", "contains entries pointing to null sha1"],
  ["fullPathname", "contains full pathnames"],
  ["hasDot", "contains '.'"],
  ["hasDotdot", "contains '..'"],
  ["hasDotgit", "contains '.git'"],
  ["zeroPaddedFilemode", "contains zero-padded file modes"],
  ["badFilemode", "contains bad file modes"],
  ["duplicateEntries", "contains duplicate file entries"],
  ["treeNotSorted", "not properly sorted"],
  ["largePathname", "contains excessively large pathname"],
];

/**
 * Git's order: a directory's name counts as if it ended in a slash. A file and a directory of one name need not be
 * neighbours ("a", "a.b", "a/"): files that a directory may still follow are kept on a stack.
 */
class OrderCheck {
  #previous: string | undefined;
  #previousIsTree = false;
  readonly #files: string[] = [];

  next(name: string, isTree: boolean): "duplicateEntries" | "treeNotSorted" | undefined {
    const previous = this.#previous;
    const previousIsTree = this.#previousIsTree;
    this.#previous = name;
    this.#previousIsTree = isTree;
    if (previous === undefined) return undefined;
    if (previous === name) return "duplicateEntries";
    const length = Math.min(previous.length, name.length);
    const a = previous.slice(0, length);
    const b = name.slice(0, length);
    if (a !== b) return a < b ? undefined : "treeNotSorted";
    const x = previous[length] ?? (previousIsTree ? "/" : "");
    const y = name[length] ?? (isTree ? "/" : "");
    if (x === "" && isBelowSlash(y)) this.#files.push(previous);
    else if (y === "/" && isBelowSlash(x) && this.#hasFile(name)) return "duplicateEntries";
    return x < y ? undefined : "treeNotSorted";
  }

  #hasFile(name: string): boolean {
    for (let file = this.#files.pop(); file !== undefined; file = this.#files.pop()) {
      if (!name.startsWith(file)) continue;
      if (name === file) return true;
      if (!isBelowSlash(name[file.length] ?? "")) continue;
      this.#files.push(file);
      return false;
    }
    return false;
  }
}

function isBelowSlash(c: string): boolean {
  return c !== "" && c < "/";
}
