/**
 * The files of a tree as files in a directory. A tree comes from a stranger, so:
 *
 * - every file is made new (`O_EXCL`): what stands there, a symbolic link above all, is not written through;
 * - directories are entered only where they are directories and no links;
 * - symbolic links come last, when nothing is written any more, and only those that stay inside: a relative target
 *   whose `..` all come first, so that no other link is on the way out;
 * - names that some file system takes for `.git`, `.` and `..` are refused; submodules are left out.
 *
 * It does not convert line endings nor run filters: files are what was committed. Specification: gitformat of trees.
 */
import { lstat, mkdir, open, symlink } from "node:fs/promises";
import { GitwharfError, isGitwharfError, throwIfAborted } from "../../base/errors.js";
import { isPromise } from "../../base/maybe-promise.js";
import { isDotGit } from "../../object/fsck/special-names.js";
import type { ObjectId } from "../../object/object-id.js";
import { MODE_GITLINK, MODE_SYMLINK, MODE_TREE } from "../../object/tree.js";
import { parsePathSelection } from "../archive/path-selection.js";
import {
  malformedTree,
  readObjectOf,
  readTreeRows,
  TREE_DEPTH_MAX,
  type TreeRow,
} from "../archive/tree-rows.js";
import { WorkBudget } from "../fetch/work-budget.js";
import type { Checkout, CheckoutOptions } from "../push.js";
import type { PushedObjects } from "./pushed-base.js";
import { checkFileSize } from "./pushed-files.js";

const SKIPPED_MAX = 1000;
/** Of a target; Linux takes no longer ones. */
const TARGET_BYTES_MAX = 4095;

interface Level {
  readonly rows: readonly TreeRow[];
  next: number;
  /** "" or with a slash at its end; latin1. */
  readonly directory: string;
  isMade: boolean;
}

interface Link {
  readonly path: string;
  readonly target: Buffer;
}

/** @throws base/limit-exceeded, base/aborted, object/malformed, object/corrupt, storage/exists, storage/io */
export async function checkOutTree(
  from: PushedObjects,
  tree: ObjectId,
  directory: string,
  options: CheckoutOptions = {},
): Promise<Checkout> {
  try {
    return await writeTree(from, tree, directory, options);
  } catch (error) {
    if (isGitwharfError(error)) throw error;
    throw fileError(error, directory);
  }
}

async function writeTree(
  from: PushedObjects,
  tree: ObjectId,
  directory: string,
  options: CheckoutOptions,
): Promise<Checkout> {
  const { objects, limits, signal } = from;
  const { entriesMax = limits.archiveEntriesMax, bytesMax = limits.archiveSizeBytesMax } = options;
  const selection = parsePathSelection(
    (options.paths ?? []).map((path) => Buffer.from(path).toString("latin1")),
  );
  const budget = new WorkBudget({ signal });
  const root = Buffer.from(`${directory}/`);
  const at = (path: string): Buffer => Buffer.concat([root, Buffer.from(path, "latin1")]);
  const tooMany = (): GitwharfError =>
    new GitwharfError("base/limit-exceeded", `the checkout has more than ${entriesMax} entries`);
  const rowsOf = async (oid: ObjectId, max: number): Promise<readonly TreeRow[]> => {
    try {
      return await readTreeRows(objects, oid, max);
    } catch (error) {
      throw isGitwharfError(error, "base/limit-exceeded") ? tooMany() : error;
    }
  };
  await mkdir(directory, { recursive: true });
  const levels: Level[] = [{ rows: await rowsOf(tree, entriesMax), next: 0, directory: "", isMade: true }];
  const links: Link[] = [];
  const skipped: string[] = [];
  // A small pack may hold one large tree that stands in itself a thousand times.
  let openRows = levels[0]?.rows.length ?? 0;
  let entries = 0;
  let files = 0;
  let sizeBytes = 0;
  const skip = (path: string): void => {
    if (skipped.length < SKIPPED_MAX) skipped.push(Buffer.from(path, "latin1").toString("utf8"));
  };
  const room = (bytes: number): void => {
    sizeBytes += bytes;
    if (sizeBytes > bytesMax)
      throw new GitwharfError("base/limit-exceeded", `the checkout has more than ${bytesMax} bytes`);
  };
  for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
    const row = level.rows[level.next++];
    if (row === undefined) {
      openRows -= level.rows.length;
      levels.pop();
      continue;
    }
    if (++entries > entriesMax) throw tooMany();
    const path = level.directory + row.name;
    if (budget.spend(1 + selection.cost(path.length))) await budget.pause();
    if (isDotGit(row.name)) throw malformedTree(`an entry is called '${row.name.slice(0, 60)}'`);
    if (row.mode === MODE_TREE) {
      if (!selection.mayHold(path)) continue;
      if (levels.length > TREE_DEPTH_MAX)
        throw malformedTree(`its trees are nested deeper than ${TREE_DEPTH_MAX}`);
      const rows = await rowsOf(row.oid, entriesMax - openRows);
      openRows += rows.length;
      levels.push({ rows, next: 0, directory: `${path}/`, isMade: false });
      continue;
    }
    if (!selection.matches(path, row.mode === MODE_GITLINK ? "submodule" : "file")) continue;
    if (row.mode === MODE_GITLINK) {
      skip(path);
      continue;
    }
    throwIfAborted(signal);
    const size = await sizeOf(from, row.oid);
    room(size);
    if (row.mode === MODE_SYMLINK) {
      const target = size > TARGET_BYTES_MAX ? undefined : await readObjectOf(objects, row.oid, "blob");
      if (target === undefined || options.symlinks === "skip" || !staysInside(path, target)) skip(path);
      else links.push({ path, target });
      continue;
    }
    checkFileSize(from, Buffer.from(path, "latin1").toString("utf8"), size);
    for (const outer of levels) {
      if (outer.isMade) continue;
      await makeDirectory(at(outer.directory.slice(0, -1)));
      outer.isMade = true;
    }
    await writeNew(at(path), await readObjectOf(objects, row.oid, "blob"), (row.mode & 0o100) !== 0);
    files++;
  }
  for (const { path, target } of links) {
    throwIfAborted(signal);
    const parts = path.split("/");
    for (let depth = 1; depth < parts.length; depth++)
      await makeDirectory(at(parts.slice(0, depth).join("/")));
    await symlink(target, at(path));
    files++;
  }
  return { files, sizeBytes, skipped };
}

async function sizeOf({ objects }: PushedObjects, oid: ObjectId): Promise<number> {
  const header = objects.readHeader(oid);
  const found = isPromise(header) ? await header : header;
  if (found === undefined) throw new GitwharfError("object/corrupt", `the blob ${oid} is absent`);
  return found.sizeBytes;
}

async function writeNew(path: Buffer, data: Buffer, isExecutable: boolean): Promise<void> {
  const file = await open(path, "wx", isExecutable ? 0o777 : 0o666);
  try {
    await file.writeFile(data);
  } finally {
    await file.close();
  }
}

async function makeDirectory(path: Buffer): Promise<void> {
  try {
    await mkdir(path);
  } catch (error) {
    if (codeOf(error) !== "EEXIST" || !(await lstat(path)).isDirectory()) throw error;
  }
}

/**
 * The link itself stands in a directory that was made here, so `..` at the beginning of its target are what they seem;
 * behind a name they could lead out of wherever that name leads to.
 */
function staysInside(path: string, bytes: Buffer): boolean {
  const target = bytes.toString("latin1");
  if (target === "" || target.startsWith("/") || target.includes("\0") || target.includes("\\")) return false;
  let depth = path.split("/").length - 1;
  let isBehindName = false;
  for (const part of target.split("/")) {
    if (part === "" || part === ".") continue;
    if (part !== "..") isBehindName = true;
    else if (isBehindName || --depth < 0) return false;
  }
  return true;
}

function fileError(error: unknown, directory: string): GitwharfError {
  const code = codeOf(error);
  const why = error instanceof Error ? error.message : String(error);
  return code === "EEXIST"
    ? new GitwharfError(
        "storage/exists",
        `the checkout into ${directory} would overwrite what stands there: ${why}`,
      )
    : new GitwharfError("storage/io", `the checkout into ${directory} failed: ${why}`, { cause: error });
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error ? String(error.code) : undefined;
}
