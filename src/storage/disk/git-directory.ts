/**
 * Finding the git directory behind a path: a bare repository, a work tree with `.git`, or a `.git` file that names
 * another directory (submodules, linked work trees).
 * Specification: gitrepository-layout.
 */
import { realpath } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { GitwharfError } from "../../base/errors.js";
import { readSmallFile } from "./cached-file.js";
import { ioError, leadsNowhere } from "./file-errors.js";
import { type FileStamp, readStamp } from "./file-stamp.js";

export interface GitDirectory {
  /** Real path of the directory that holds HEAD. */
  readonly path: string;
  /** Real path of the directory that holds objects and refs: another one for a linked work tree. */
  readonly commonDirectory: string;
  /** The directory above `.git`. */
  readonly workTree: string | undefined;
}

const POINTER_BYTES_MAX = 16 * 1024;

/** The git directory that stands at exactly this path, or that a file at this path names. undefined: there is none. */
export async function findGitDirectory(path: string): Promise<GitDirectory | undefined> {
  const stamp = await readStamp(path);
  if (stamp === undefined) return undefined;
  const workTree = path.endsWith("/.git") ? dirname(path) : undefined;
  const target = stamp.isDirectory ? path : await readGitFile(path);
  if (target === undefined) return undefined;
  const real = await realPath(target);
  if (real === undefined) return undefined;
  const commonDirectory = await readCommonDirectory(real);
  if (commonDirectory === undefined || !(await isGitDirectory(real, commonDirectory))) return undefined;
  return { path: real, commonDirectory, workTree };
}

/** True when git would take it for a repository: HEAD, `objects` and `refs` are there. */
export async function isGitDirectory(path: string, commonDirectory = path): Promise<boolean> {
  const [head, objects, refs] = await Promise.all([
    readStamp(`${path}/HEAD`),
    readStamp(`${commonDirectory}/objects`),
    readStamp(`${commonDirectory}/refs`),
  ]);
  // (A HEAD that is a dangling symbolic link is of an age before symbolic refs were files.)
  return isFile(head) && objects?.isDirectory === true && refs !== undefined;
}

/** `gitdir: PATH`, relative to the file's directory. */
async function readGitFile(path: string): Promise<string | undefined> {
  const text = (await readSmallFile(path, POINTER_BYTES_MAX))?.toString("utf8") ?? "";
  if (!text.startsWith("gitdir: ")) return undefined;
  const named = text.slice(8).replace(/[\r\n]+$/, "");
  return named === "" || named.includes("\0") ? undefined : resolve(dirname(path), named);
}

async function readCommonDirectory(gitDirectory: string): Promise<string | undefined> {
  const bytes = await readSmallFile(`${gitDirectory}/commondir`, POINTER_BYTES_MAX);
  if (bytes === undefined) return gitDirectory;
  const named = bytes.toString("utf8").replace(/[\r\n]+$/, "");
  return named.includes("\0") ? undefined : realPath(resolve(gitDirectory, named));
}

/** undefined when it does not exist. @throws storage/io */
export async function realPath(path: string): Promise<string | undefined> {
  try {
    return await realpath(path);
  } catch (cause) {
    if (leadsNowhere(cause)) return undefined;
    throw ioError("resolving", path, cause);
  }
}

/** @throws storage/not-found when `path` is neither `directory` nor below it; both are real paths */
export function mustBeInside(path: string, directory: string, name: string): void {
  if (isInside(path, directory)) return;
  throw new GitwharfError(
    "storage/not-found",
    `repository '${name}' is a link that leads out of the served directory`,
  );
}

export function isInside(path: string, directory: string): boolean {
  return path === directory || path.startsWith(directory.endsWith("/") ? directory : `${directory}/`);
}

function isFile(stamp: FileStamp | undefined): boolean {
  return stamp !== undefined && !stamp.isDirectory;
}
